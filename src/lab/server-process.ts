/** The lab's handle on one server process: starts it, signals it, and knows what it last said. */
import { type ChildProcess, fork } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { SessionEvent } from '../types.ts'
import { labError } from './lab-error.ts'
import { processFile } from './locate.ts'
import type { Counters, FromServer, Holding, Report, ServerConfig, ToServer } from './messages.ts'
import { waitStopped } from './process-state.ts'
import type { Watchdog } from './watchdog.ts'

const START_DEADLINE_MS = 30_000
const DRAIN_DEADLINE_MS = 20_000
const STOP_DEADLINE_MS = 2_000
const SIGNAL_DEADLINE_MS = 3_000

export type NodeState = 'up' | 'joining' | 'paused' | 'draining' | 'down'

export interface NodeView {
  readonly id: string
  readonly url: string
  readonly pid: number | null
  readonly state: NodeState
  readonly sessions: number
  readonly rssBytes: number
  readonly sentBytes: number
  readonly receivedBytes: number
  readonly requests: number
  /** Messages with sessions in them, by the server they went to. */
  readonly sentTo: Readonly<Record<string, number>>
}

export interface ServerProcessHandlers {
  event(event: SessionEvent): void
  stranger(key: string): void
  /** A visitor presented a session that was ended on purpose. */
  ended(key: string): void
  /** The state or the figures changed. */
  changed(): void
  log(line: string): void
}

export interface ServerProcess {
  readonly id: string
  /** Port of the shop, 0 before it first listened. */
  port(): number
  view(): NodeView
  /** Counted over all runs of this server. */
  counters(): Counters
  notProtected(): readonly string[]
  /** Resolves when the server is ready; rejects, with the process gone, when it cannot be. */
  start(config: ServerConfig): Promise<void>
  kill(): Promise<void>
  pause(): Promise<void>
  resume(): Promise<void>
  drain(): Promise<void>
  /** Lets the server close what it holds open, then ends it. */
  stop(): Promise<void>
  /** Asks for fresh figures; gives up at the deadline, for the server may be stalled. */
  refresh(deadlineMs: number): Promise<void>
  /** What this server can tell of where the session is, by server; nothing while it is stalled or down. */
  locate(key: string, deadlineMs: number): Promise<Readonly<Record<string, Holding>>>
}

const NO_REPORT: Report = {
  sessions: 0,
  rssBytes: 0,
  sentBytes: 0,
  receivedBytes: 0,
  requests: 0,
  sentTo: {},
  counters: { lostUpdates: 0, stale: 0 },
  notProtected: [],
}

export function createServerProcess(id: string, watchdog: Watchdog, handlers: ServerProcessHandlers): ServerProcess {
  let child: ChildProcess | undefined
  let phase: Exclude<NodeState, 'paused'> = 'down'
  let paused = false
  let port = 0
  let report = NO_REPORT
  let past = NO_REPORT
  let nextReport = 1
  let waiters: ((message: FromServer | undefined) => void)[] = []

  function set(next: typeof phase): void {
    phase = next
    handlers.changed()
  }

  function receive(message: FromServer): void {
    if (message.type === 'event') handlers.event(message.event)
    else if (message.type === 'stranger') handlers.stranger(message.key)
    else if (message.type === 'ended') handlers.ended(message.key)
    else if (message.type === 'listening') port = message.port
    else if (message.type === 'report') report = message.report
    else if (message.type === 'ready' && phase === 'joining') set('up')
    for (const waiter of waiters) waiter(message)
  }

  /** What runs after the process ended, however it did. */
  function ended(pid: number | undefined): void {
    if (pid !== undefined) watchdog.forget(pid)
    child = undefined
    paused = false
    past = addReports(past, report)
    report = NO_REPORT
    set('down')
    for (const waiter of waiters) waiter(undefined)
  }

  /** Resolves with the first message `match` accepts, with undefined when the process ends first or time is up. */
  function nextMessage(match: (message: FromServer) => boolean, deadlineMs: number): Promise<FromServer | undefined> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle(undefined), deadlineMs)
      function settle(value: FromServer | undefined): void {
        clearTimeout(timer)
        waiters = waiters.filter((other) => other !== waiter)
        resolve(value)
      }
      function waiter(value: FromServer | undefined): void {
        if (value === undefined || match(value)) settle(value)
      }
      waiters = [...waiters, waiter]
    })
  }

  function send(body: ToServer): void {
    if (child?.connected === true) child.send(body, () => undefined)
  }

  function launch(): ChildProcess {
    const launched = fork(processFile('server-main'), [], {
      execArgv: ['--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    const { pid } = launched
    if (pid !== undefined) watchdog.watch(pid)
    launched.on('message', (body) => receive(body as FromServer))
    launched.once('exit', () => ended(pid))
    launched.on('error', (error) => {
      handlers.log(`${id}: ${error.message}`)
      if (pid === undefined) ended(undefined)
    })
    if (launched.stderr !== null) createInterface({ input: launched.stderr }).on('line', (line) => handlers.log(`[${id}] ${line}`))
    return launched
  }

  async function waitEnd(deadlineMs: number): Promise<boolean> {
    const until = performance.now() + deadlineMs
    while (child !== undefined && performance.now() < until) await nextMessage(() => false, Math.max(1, until - performance.now()))
    return child === undefined
  }

  async function kill(): Promise<void> {
    child?.kill('SIGKILL')
    if (!(await waitEnd(SIGNAL_DEADLINE_MS))) throw labError(500, 'KILL_FAILED', `${id} did not end after SIGKILL.`)
  }

  async function signal(stop: boolean): Promise<void> {
    const pid = child?.pid
    child?.kill(stop ? 'SIGSTOP' : 'SIGCONT')
    if (pid === undefined || !(await waitStopped(pid, stop, SIGNAL_DEADLINE_MS)))
      throw labError(500, 'SIGNAL_FAILED', `${id} did not ${stop ? 'stop' : 'go on'} in time.`)
    paused = stop
    handlers.changed()
  }

  return {
    id,
    port: () => port,
    counters: () => addReports(past, report).counters,
    notProtected: () => report.notProtected,
    view() {
      const all = addReports(past, report)
      return {
        id,
        url: `http://127.0.0.1:${port}`,
        pid: child?.pid ?? null,
        state: paused ? 'paused' : phase,
        sessions: report.sessions,
        rssBytes: report.rssBytes,
        sentBytes: all.sentBytes,
        receivedBytes: all.receivedBytes,
        requests: all.requests,
        sentTo: report.sentTo,
      }
    },
    async start(config) {
      set('joining')
      child = launch()
      const until = performance.now() + START_DEADLINE_MS
      const left = (): number => Math.max(1, until - performance.now())
      await nextMessage((body) => body.type === 'loaded', left())
      // Its own wait is set up before the message that causes it.
      const outcome = nextMessage((body) => body.type === 'ready' || body.type === 'failed', left())
      send({ type: 'configure', config })
      const last = await outcome
      if (last?.type === 'ready') return
      await kill()
      if (last?.type === 'failed') throw labError(500, last.code, `${id} could not start: ${last.message}`)
      throw labError(500, 'START_FAILED', `${id} did not become ready.`)
    },
    kill,
    pause: () => signal(true),
    async resume() {
      await signal(false)
      const reportId = nextReport++
      const answer = nextMessage((body) => body.type === 'report' && body.id === reportId, SIGNAL_DEADLINE_MS)
      send({ type: 'report', id: reportId })
      await answer
    },
    async drain() {
      set('draining')
      const done = nextMessage((body) => body.type === 'drained' || body.type === 'failed', DRAIN_DEADLINE_MS)
      send({ type: 'drain' })
      await done
    },
    async stop() {
      if (child === undefined) return
      if (!paused) {
        send({ type: 'stop' })
        if (await waitEnd(STOP_DEADLINE_MS)) return
      }
      await kill()
    },
    async refresh(deadlineMs) {
      if (child === undefined || paused) return
      const reportId = nextReport++
      const answer = nextMessage((body) => body.type === 'report' && body.id === reportId, deadlineMs)
      send({ type: 'report', id: reportId })
      await answer
    },
    async locate(key, deadlineMs) {
      if (child === undefined || paused) return {}
      const locateId = nextReport++
      const answer = nextMessage((body) => body.type === 'located' && body.id === locateId, deadlineMs)
      send({ type: 'locate', id: locateId, key })
      const located = await answer
      return located?.type === 'located' ? located.holdings : {}
    },
  }
}

function addReports(a: Report, b: Report): Report {
  return {
    ...b,
    sentBytes: a.sentBytes + b.sentBytes,
    receivedBytes: a.receivedBytes + b.receivedBytes,
    requests: a.requests + b.requests,
    counters: {
      lostUpdates: a.counters.lostUpdates + b.counters.lostUpdates,
      stale: a.counters.stale + b.counters.stale,
    },
  }
}
