/** Memcached servers for tests: 127.0.0.1 only, memory only, ended by pid, also when the test process dies. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createConnection } from 'node:net'
import { freePort } from './ports.ts'
import { waitFor, within } from './servers.ts'

export interface RunningMemcached {
  readonly pid: number
  readonly port: number
  /** `127.0.0.1:PORT` */
  readonly address: string
  /** SIGSTOP: the process freezes, its connections stay open. */
  pause(): void
  /** SIGCONT. */
  resume(): void
  /** SIGKILL; resolves once the process is gone. */
  kill(): Promise<void>
  /** SIGTERM, then SIGKILL after 5 s; resolves once the process is gone. Safe to call twice. */
  stop(): Promise<void>
  /** Starts it again on the same port after `kill()` or `stop()`; its data is gone. */
  restart(): Promise<RunningMemcached>
  /** Sends lines as they are and resolves to the answer up to and including the line that matches. */
  ask(text: string | Buffer, last: RegExp): Promise<string>
  /** Numbers of `stats`, like `cmd_set`. */
  stats(): Promise<Readonly<Record<string, number>>>
}

export interface MemcachedOptions {
  /** More arguments, e.g. `['-I', '2m']`. */
  args?: readonly string[]
  /** Default: a free one. */
  port?: number
}

const living = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL')
})

const AS_ROOT = process.getuid?.() === 0
/** Linux ends the server when the test process dies, even by SIGKILL; and as root it gives its rights up first. */
const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path))
const UNPRIVILEGED = ['--reuid', '65534', '--regid', '65534', '--clear-groups']

/** Debian's memcached, with 64 MB. */
export async function startMemcached({ args = [], port }: MemcachedOptions = {}): Promise<RunningMemcached> {
  return launch(port ?? (await freePort()), args)
}

async function launch(port: number, args: readonly string[]): Promise<RunningMemcached> {
  const base = ['memcached', '-l', '127.0.0.1', '-p', String(port), '-m', '64', '-U', '0', '-t', '2', ...args]
  const wrapped =
    SETPRIV === undefined
      ? [...base, ...(AS_ROOT ? ['-u', 'nobody'] : [])]
      : [SETPRIV, ...(AS_ROOT ? UNPRIVILEGED : []), '--pdeathsig', 'KILL', '--', ...base]
  const [file, ...rest] = wrapped as [string, ...string[]]
  const child = spawn(file, rest, { stdio: ['ignore', 'ignore', 'pipe'] })
  living.add(child)
  let output = ''
  child.stderr.on('data', (chunk: Buffer) => void (output = (output + chunk.toString()).slice(-16_000)))
  let ended = false
  const exited = new Promise<void>((resolve) => {
    const end = (): void => {
      ended = true
      living.delete(child)
      resolve()
    }
    child.once('exit', end)
    child.once('error', (error) => {
      output += error.message
      end()
    })
  })
  const server = control(child, exited, port, args)
  try {
    await waitFor(async () => ended || (await server.ask('mn\r\n', /^MN/m)) !== '', 10_000, 'memcached answering')
    if (ended) throw new Error('memcached ended while it started')
  } catch (error) {
    await server.kill()
    throw new Error(`${(error as Error).message}\n${output}`, { cause: error })
  }
  return server
}

function control(child: ChildProcess, exited: Promise<void>, port: number, args: readonly string[]): RunningMemcached {
  const ask = (text: string | Buffer, last: RegExp): Promise<string> => askPort(port, text, last)
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exited
  }
  return {
    pid: child.pid ?? 0,
    port,
    address: `127.0.0.1:${port}`,
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    kill,
    async stop() {
      child.kill('SIGCONT')
      child.kill('SIGTERM')
      await within(exited, 5_000, 'memcached stopping').catch(kill)
    },
    restart: () => launch(port, args),
    ask,
    async stats() {
      const lines = (await ask('stats\r\n', /^END\r$/m)).matchAll(/^STAT (\S+) (\d+)\r$/gm)
      return Object.fromEntries([...lines].map(([, name, value]) => [name, Number(value)]))
    },
  }
}

function askPort(port: number, text: string | Buffer, last: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = createConnection({ port, host: '127.0.0.1' })
    socket.setTimeout(2_000, () => socket.destroy(new Error('no answer')))
    socket.once('error', reject)
    socket.once('close', () => reject(new Error(`memcached closed the connection: ${answer}`)))
    socket.once('connect', () => socket.write(text))
    socket.on('data', (data) => {
      answer += data.toString('latin1')
      if (!last.test(answer)) return
      resolve(answer)
      socket.destroy()
    })
  })
}
