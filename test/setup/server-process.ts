/** Processes of servers under test: their output is kept, and none outlives the test process. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { waitFor, within } from './waiting.ts'

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

export interface ProcessKind {
  /** One process per connection: `pause`, `resume` and `kill` mean its children too. */
  readonly hasChildren?: boolean
  /** What `stop()` asks with. Default SIGTERM. */
  readonly stopSignal?: NodeJS.Signals
  /** Default 5,000. */
  readonly stopMs?: number
}

const living = new Map<ChildProcess, ProcessKind>()
process.on('exit', () => {
  for (const [child, kind] of living) for (const pid of pidsOf(child, kind)) signal(pid, 'SIGKILL')
})

export function controlled(child: ChildProcess, what: string, kind: ProcessKind = {}): RunningProcess {
  let text = ''
  const keep = (chunk: Buffer): void => {
    text = (text + chunk.toString()).slice(-64_000)
  }
  child.stdout?.on('data', keep)
  child.stderr?.on('data', keep)
  living.set(child, kind)
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    const end = (code: number | null, by: NodeJS.Signals | null): void => {
      living.delete(child)
      resolve({ code, signal: by })
    }
    child.once('exit', end)
    child.once('error', (error) => {
      text += `\n${what}: ${error.message}`
      end(null, null)
    })
  })
  const tellAll = (sent: NodeJS.Signals): readonly number[] => {
    // The parent first: a stopped one starts no further process.
    const pids = living.has(child) ? pidsOf(child, kind) : []
    for (const pid of pids) signal(pid, sent)
    return pids
  }
  const kill = async (): Promise<void> => {
    const pids = tellAll('SIGKILL')
    await exited
    if (kind.hasChildren) await waitFor(() => pids.every((pid) => !isRunning(pid)), 10_000, `all of ${what} gone`)
  }
  return {
    pid: child.pid ?? 0,
    output: () => text,
    pause: () => void tellAll('SIGSTOP'),
    resume: () => void tellAll('SIGCONT'),
    kill,
    async stop(): Promise<void> {
      tellAll('SIGCONT')
      child.kill(kind.stopSignal ?? 'SIGTERM')
      await within(exited, kind.stopMs ?? 5_000, `${what} stopping`).catch(kill)
    },
    exited,
  }
}

/** Linux ends the server when the test process dies, even by SIGKILL. */
const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path))
const AS_ROOT = process.getuid?.() === 0
const NOBODY = ['--reuid', '65534', '--regid', '65534', '--clear-groups']

/** `user`: of Linux, where the test runs as root: `nobody`, or a name. */
export function spawnServer(command: readonly string[], cwd: string, user?: string): ChildProcess {
  const [file, ...args] = asUser(command, user, ['--pdeathsig', 'KILL']) as [string, ...string[]]
  return spawn(file, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
}

export function asUser(command: readonly string[], user?: string, options: readonly string[] = []): readonly string[] {
  if (SETPRIV === undefined) return command
  const named = user === 'nobody' ? NOBODY : [`--reuid=${user}`, `--regid=${user}`, '--init-groups']
  return [SETPRIV, ...(AS_ROOT && user !== undefined ? named : []), ...options, '--', ...command]
}

/** Ends it, with what it wrote in the message, when it is not up by then. */
export async function untilUp(
  server: RunningProcess,
  what: string,
  isUp: () => boolean | Promise<boolean>,
  deadlineMs = 10_000,
): Promise<void> {
  let ended = false
  void server.exited.then(() => {
    ended = true
  })
  try {
    await waitFor(async () => ended || (await isUp()), deadlineMs, `${what} answering`)
    if (ended) throw new Error(`${what} ended while it started: is it installed?`)
  } catch (error) {
    await server.kill()
    throw new Error(`${(error as Error).message}\n${server.output()}`, { cause: error })
  }
}

/** The process and its children, each in a process group of its own. */
export function familyOf(pid: number): number[] {
  const children = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && parentOf(name) === pid)
  return [pid, ...children.map(Number)]
}

function pidsOf({ pid }: ChildProcess, { hasChildren = false }: ProcessKind): readonly number[] {
  if (pid === undefined) return []
  return hasChildren ? familyOf(pid) : [pid]
}

function parentOf(pid: string): number | undefined {
  try {
    return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  } catch {
    return undefined
  }
}

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

function signal(pid: number, sent: NodeJS.Signals): void {
  try {
    process.kill(pid, sent)
  } catch {
    // It has ended already.
  }
}
