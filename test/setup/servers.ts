/**
 * Real processes for tests: Redis servers, Node scripts. Everything listens on 127.0.0.1 only, keeps its data in a
 * temporary folder and is ended by pid: by `stop()`, else when the test process exits, else (killed tests) by the kernel or the leash.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from './ports.ts'
import { controlled, spawnServer, untilUp } from './server-process.ts'
import type { RunningProcess } from './server-process.ts'

export { waitFor, within } from './waiting.ts'

/** Whatever it says, also that it wants a password. */
export function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' })
    const end = (isUp: boolean): void => {
      socket.destroy()
      resolve(isUp)
    }
    socket.setTimeout(1_000, () => end(false))
    socket.once('error', () => end(false))
    socket.once('connect', () => socket.write('PING\r\n'))
    socket.once('data', () => end(true))
  })
}

export interface RunningRedis extends RunningProcess {
  /** `redis://127.0.0.1:PORT` */
  readonly url: string
  readonly port: number
  /** Starts it again on the same port after `kill()` or `stop()`; its data is gone unless `args` made it persist. */
  restart(): Promise<RunningRedis>
}

/** They speak the same protocol and take the same arguments. */
export type RedisProgram = 'redis-server' | 'valkey-server'

export interface RedisOptions {
  /** Default redis-server. */
  program?: RedisProgram
  /** More arguments, e.g. `['--appendonly', 'yes']`. */
  args?: readonly string[]
  /** Default: a free one. */
  port?: number
}

/** Debian's redis-server or valkey-server, without persistence unless `args` say otherwise. */
export async function startRedis(options: RedisOptions = {}): Promise<RunningRedis> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-redis-'))
  return launchRedis(options.program ?? 'redis-server', options.port ?? (await freePort()), folder, options.args ?? [])
}

async function launchRedis(program: RedisProgram, port: number, folder: string, args: readonly string[]): Promise<RunningRedis> {
  const base = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no', '--daemonize', 'no']
  const server = controlled(spawnServer([program, ...base, ...args], folder), program)
  await untilUp(server, program, () => answersPing(port))
  return {
    ...server,
    port,
    url: `redis://127.0.0.1:${port}`,
    stop: async () => {
      await server.stop()
      await rm(folder, { recursive: true, force: true })
    },
    restart: () => launchRedis(program, port, folder, args),
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
  const node = withLines(child, controlled(child, path), path)
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
