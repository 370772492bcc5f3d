/** Network namespaces of Linux, joined by a bridge: a link that is taken down is a partition made by the kernel. */
import { spawnSync } from 'node:child_process'
import { freePort } from '../setup/ports.ts'

export interface Namespaces {
  /** Name and address of each. */
  readonly all: readonly { readonly name: string; readonly host: string }[]
  setLink(index: number, state: 'up' | 'down'): void
  remove(): void
}

function ip(...args: string[]): void {
  const { error, status, stderr } = spawnSync('ip', args, { encoding: 'utf8' })
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr.trim()}`)
}

/** Nothing outside the namespaces is changed. Throws where they are not permitted. */
export async function namespaces(count: number): Promise<Namespaces> {
  // A port that nobody else is given makes a name that nobody else has.
  const prefix = `hf${await freePort()}`
  const bridge = `${prefix}s`
  const all = Array.from({ length: count }, (_, index) => ({ name: `${prefix}n${index}`, host: `10.99.0.${index + 1}` }))
  const made: string[] = []
  const remove = (): void => {
    for (const name of made.splice(0)) spawnSync('ip', ['netns', 'del', name])
  }
  const add = (name: string): void => {
    ip('netns', 'add', name)
    made.push(name)
    ip('-n', name, 'link', 'set', 'lo', 'up')
  }
  try {
    add(bridge)
    ip('-n', bridge, 'link', 'add', 'br0', 'type', 'bridge')
    ip('-n', bridge, 'link', 'set', 'br0', 'up')
    for (const [index, { host, name }] of all.entries()) {
      add(name)
      ip('-n', bridge, 'link', 'add', `p${index}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
      ip('-n', bridge, 'link', 'set', `p${index}`, 'master', 'br0', 'up')
      ip('-n', name, 'addr', 'add', `${host}/24`, 'dev', 'eth0')
      ip('-n', name, 'link', 'set', 'eth0', 'up')
    }
  } catch (error) {
    remove()
    throw error
  }
  return { all, remove, setLink: (index, state) => ip('-n', bridge, 'link', 'set', `p${index}`, state) }
}

/** Undefined: permitted; else why not. */
export async function whyNoNamespaces(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'network namespaces are a thing of Linux'
  if (process.execve === undefined) return 'this Node has no process.execve'
  try {
    const probe = await namespaces(1)
    probe.remove()
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : 'unknown'
  }
}
