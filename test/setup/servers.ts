/**
 * Real processes for tests: Redis servers, Node scripts. Everything listens on 127.0.0.1 only, keeps its data in a
 * temporary folder and is ended by pid: by `stop()`, else when the test process exits, else (killed tests) by the kernel or the leash.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from './ports.ts'

/**
 * Waits until the condition returns (or resolves to) something truthy, and returns it. A condition that throws counts as
 * "not yet"; its last error becomes the cause. Throws after `deadlineMs` (default 10 s).
 */
export async function waitFor<T>(condition: () => T | Promise<T>, deadlineMs = 10_000, what = 'the condition'): Promise<NonNullable<T>> {
  const until = performance.now() + deadlineMs
  let cause: unknown
  for (;;) {
    try {
      const result = await within(Promise.resolve(condition()), Math.max(1, until - performance.now()), what)
      if (result) return result
      cause = undefined
    } catch (error) {
      cause = error
    }
    if (performance.now() >= until) throw new Error(`did not happen within ${deadlineMs} ms: ${what}`, { cause })
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** The promise's result, or an error after `deadlineMs`. */
export async function within<T>(promise: Promise<T>, deadlineMs: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`did not end within ${deadlineMs} ms: ${what}`)), deadlineMs)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** A process under the test's control. */
export interface RunningProcess {
  readonly pid: number
  /** Everything it wrote so far, both streams: for messages of failing tests. */
  output(): string
  /** SIGSTOP: the process freezes, its connections stay open. */
  pause(): void
  /** SIGCONT. */
  resume(): void
  /** SIGKILL; resolves once the process is gone. */
  kill(): Promise<void>
  /** SIGTERM, then SIGKILL after 5 s; resolves once the process is gone. Safe to call twice. */
  stop(): Promise<void>
  /** Resolves when the process has ended, whatever the reason. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
}

const living = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL')
})

function control(child: ChildProcess, what: string): RunningProcess {
  let text = ''
  const keep = (chunk: Buffer): void => {
    text = (text + chunk.toString()).slice(-64_000)
  }
  child.stdout?.on('data', keep)
  child.stderr?.on('data', keep)
  living.add(child)
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('exit', (code, signal) => {
      living.delete(child)
      resolve({ code, signal })
    })
    child.once('error', (error) => {
      living.delete(child)
      text += `\n${what}: ${error.message}`
      resolve({ code: null, signal: null })
    })
  })
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exited
  }
  return {
    pid: child.pid ?? 0,
    output: () => text,
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    kill,
    stop: async () => {
      child.kill('SIGCONT')
      child.kill('SIGTERM')
      await within(exited, 5_000, `${what} stopping`).catch(kill)
    },
    exited,
  }
}

async function untilUp(server: RunningProcess, what: string, isUp: () => Promise<boolean>): Promise<void> {
  let ended = false
  void server.exited.then(() => {
    ended = true
  })
  try {
    await waitFor(async () => ended || (await isUp()), 10_000, `${what} answering`)
    if (ended) throw new Error(`${what} ended while it started`)
  } catch (error) {
    await server.kill()
    throw new Error(`${(error as Error).message}\n${server.output()}`, { cause: error })
  }
}

/** Linux ends the server when the test process dies, even by SIGKILL. */
const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path))
function spawnServer(command: string, args: readonly string[], cwd: string): ChildProcess {
  const [file, all] = SETPRIV === undefined ? [command, args] : [SETPRIV, ['--pdeathsig', 'KILL', '--', command, ...args]]
  return spawn(file, all, { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Sends one inline command and resolves to the first line of the answer: enough to see that a server answers. */
function ask(port: number, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ port, host: '127.0.0.1' })
    socket.setTimeout(1_000, () => socket.destroy(new Error('no answer')))
    socket.once('error', reject)
    socket.once('connect', () => socket.write(`${line}\r\n`))
    socket.once('data', (data) => {
      resolve(data.toString().split('\r\n')[0] ?? '')
      socket.destroy()
    })
  })
}

export interface RunningRedis extends RunningProcess {
  /** `redis://127.0.0.1:PORT` */
  readonly url: string
  readonly port: number
  /** Starts it again on the same port after `kill()` or `stop()`; its data is gone unless `args` made it persist. */
  restart(): Promise<RunningRedis>
}

export interface RedisOptions {
  /** More arguments, e.g. `['--appendonly', 'yes']`. */
  args?: readonly string[]
  /** Default: a free one. */
  port?: number
}

/** Debian's redis-server, without persistence unless `args` say otherwise. */
export async function startRedis(options: RedisOptions = {}): Promise<RunningRedis> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-redis-'))
  return launchRedis(options.port ?? (await freePort()), folder, options.args ?? [])
}

async function launchRedis(port: number, folder: string, args: readonly string[]): Promise<RunningRedis> {
  const base = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no', '--daemonize', 'no']
  const server = control(spawnServer('redis-server', [...base, ...args], folder), 'redis-server')
  await untilUp(server, 'redis-server', async () => (await ask(port, 'PING')).startsWith('+PONG'))
  return {
    ...server,
    port,
    url: `redis://127.0.0.1:${port}`,
    stop: async () => {
      await server.stop()
      await rm(folder, { recursive: true, force: true })
    },
    restart: () => launchRedis(port, folder, args),
  }
}

export interface RunningNode extends RunningProcess {
  /** The next line of standard output that matches (a string: starts with it); unread ones before it are passed over. Default deadline 10 s. */
  line(matches: RegExp | string, deadlineMs?: number): Promise<string>
  /** Writes one line to its standard input. */
  tell(line: string): void
}

export interface SpawnNodeOptions {
  args?: readonly string[]
  /** Added to the environment. */
  env?: Readonly<Record<string, string | undefined>>
  /** Arguments of Node itself, e.g. `['--expose-gc']`. */
  execArgv?: readonly string[]
  cwd?: string
  /** `spawnNode` resolves when a line of standard output matches. Default `/^READY\b/`; `false`: at once. */
  ready?: RegExp | false
  /** Default 20,000. */
  readyDeadlineMs?: number
}

const LEASH = new URL('./leash.mjs', import.meta.url).href

/**
 * Runs a script (JavaScript or TypeScript; a path or `file:` URL) in a Node process of its own. The script prints one line
 * `READY …` on standard output when it can be used; `ready` holds that line. It dies with the test process.
 */
export async function spawnNode(script: string | URL, options: SpawnNodeOptions = {}): Promise<RunningNode & { readonly ready: string }> {
  const path = script instanceof URL || script.startsWith('file:') ? fileURLToPath(script) : script
  const execArgv = options.execArgv ?? []
  const child = spawn(process.execPath, [...execArgv, '--import', LEASH, path, ...(options.args ?? [])], {
    cwd: options.cwd,
    env: { ...process.env, NODE_OPTIONS: undefined, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  })
  child.stdin?.on('error', () => {})
  child.stdio[3]?.on('error', () => {})
  const node = withLines(child, control(child, path), path)
  const wanted = options.ready ?? /^READY\b/
  if (wanted === false) return { ...node, ready: '' }
  try {
    return { ...node, ready: await node.line(wanted, options.readyDeadlineMs ?? 20_000) }
  } catch (error) {
    await node.kill()
    throw error
  }
}

function withLines(child: ChildProcess, base: RunningProcess, what: string): RunningNode {
  const unread: string[] = []
  const waiting = new Set<() => void>()
  const wake = (): void => {
    for (const look of [...waiting]) look()
  }
  let rest = ''
  let ended = false
  child.stdout?.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split('\n')
    rest = lines.pop() ?? ''
    unread.push(...lines)
    wake()
  })
  // The streams close after the last line: a script that prints and ends is still read whole.
  child.once('close', () => {
    ended = true
    wake()
  })
  const take = (matches: RegExp | string, deadlineMs: number): Promise<string> =>
    new Promise((resolve, reject) => {
      const done = (settle: () => void): void => {
        clearTimeout(timer)
        waiting.delete(look)
        settle()
      }
      const fail = (why: string): void => done(() => reject(new Error(`${what}: ${why} a line ${String(matches)}\n${base.output()}`)))
      const look = (): void => {
        while (unread.length > 0) {
          const line = unread.shift() as string
          if (typeof matches === 'string' ? line.startsWith(matches) : matches.test(line)) return done(() => resolve(line))
        }
        if (ended) fail('ended without')
      }
      const timer = setTimeout(() => fail(`did not print within ${deadlineMs} ms`), deadlineMs)
      waiting.add(look)
      look()
    })
  return {
    ...base,
    line: (matches, deadlineMs = 10_000) => take(matches, deadlineMs),
    tell: (line) => void child.stdin?.write(`${line}\n`),
  }
}
