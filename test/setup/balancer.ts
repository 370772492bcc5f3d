/** A balancer's process for tests, ended by pid, also when the test process dies. `nginx.ts`, `haproxy.ts` and `caddy.ts` start the real ones. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createConnection } from 'node:net'
import { waitFor, within } from './servers.ts'

export interface RunningBalancer {
  readonly pid: number
  /** `http://127.0.0.1:PORT` */
  readonly url: string
  /** Everything it wrote so far. */
  output(): string
  /** Takes a new configuration; connections stay. */
  reload(config: string): Promise<void>
  stop(): Promise<void>
}

const living = new Set<ChildProcess>()
process.on('exit', () => {
  // Not SIGKILL: nginx has workers to end.
  for (const child of living) child.kill('SIGTERM')
})

const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path))

export interface BalancerProcess {
  readonly pid: number
  output(): string
  signal(name: NodeJS.Signals): void
  stop(): Promise<void>
}

/** Resolves once it accepts connections on the port. */
export async function launchBalancer(
  command: string,
  args: readonly string[],
  port: number,
  more: Readonly<Record<string, string>> = {},
): Promise<BalancerProcess> {
  const wrapped = SETPRIV === undefined ? [command, ...args] : [SETPRIV, '--pdeathsig', 'TERM', '--', command, ...args]
  const [file, ...rest] = wrapped as [string, ...string[]]
  const child = spawn(file, rest, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin`, ...more },
  })
  living.add(child)
  let output = ''
  const keep = (chunk: Buffer): void => void (output += chunk.toString())
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  let ended = false
  const exited = new Promise<void>((resolve) => {
    const end = (error?: unknown): void => {
      if (error instanceof Error) output += error.message
      ended = true
      living.delete(child)
      resolve()
    }
    child.once('exit', () => end())
    child.once('error', end)
  })
  const kill = async (): Promise<void> => {
    child.kill('SIGTERM')
    await within(exited, 2_000, `${command} ending`).catch(() => child.kill('SIGKILL'))
    await exited
  }
  try {
    await waitFor(async () => ended || (await accepts(port)), 10_000, `${command} listening`)
    if (ended) throw new Error(`${command} ended while it started`)
  } catch (error) {
    await kill()
    throw new Error(`${(error as Error).message}\n${output}`, { cause: error })
  }
  return {
    pid: child.pid ?? 0,
    output: () => output,
    signal: (name) => void child.kill(name),
    stop: kill,
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' })
    const done = (is: boolean) => (): void => {
      socket.destroy()
      resolve(is)
    }
    socket.setTimeout(1_000, done(false))
    socket.once('error', done(false))
    socket.once('connect', done(true))
  })
}
