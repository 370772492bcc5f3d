/** What the gateway counts, as Prometheus text. No path, no address, no id of a visitor. */
import type { Server, Servers } from './servers.ts'

export interface Metrics {
  /** `server`: undefined when the gateway answered itself. */
  answered(server: string | undefined, status: number, ms: number): void
  text(servers: Servers): string
}

const BOUNDS_MS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000] as const
const CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const

export function createMetrics(totals: () => { requests: number; retried: number }): Metrics {
  const answers = new Map<string, number[]>()
  const durations = Array<number>(BOUNDS_MS.length + 1).fill(0)
  let sumMs = 0

  function answered(server: string | undefined, status: number, ms: number): void {
    const name = server ?? ''
    let counts = answers.get(name)
    if (counts === undefined) answers.set(name, (counts = [0, 0, 0, 0, 0]))
    const at = Math.min(4, Math.max(0, Math.floor(status / 100) - 1))
    counts[at] = (counts[at] as number) + 1
    let bucket = 0
    while (bucket < BOUNDS_MS.length && ms > (BOUNDS_MS[bucket] as number)) bucket++
    durations[bucket] = (durations[bucket] as number) + 1
    sumMs += ms
  }

  function text(servers: Servers): string {
    // Servers that left are forgotten.
    for (const name of answers.keys()) if (name !== '' && servers.find(name) === undefined) answers.delete(name)
    const gauge = (name: string, help: string, of: (server: Server) => number): string[] =>
      family(
        name,
        'gauge',
        help,
        servers.list.map((server) => [`server="${server.id}"`, of(server)]),
      )
    const counter = (name: string, help: string, of: (server: Server) => number): string[] =>
      family(
        name,
        'counter',
        help,
        servers.list.map((server) => [`server="${server.id}"`, of(server)]),
      )
    const { requests, retried } = totals()
    return [
      ...family('requests_total', 'counter', 'Requests received, upgrades included.', [['', requests]]),
      ...family('retries_total', 'counter', 'Requests sent to a further server.', [['', retried]]),
      ...family('answers_total', 'counter', 'Answers by server and status; no server: by the gateway itself.', answerRows(answers)),
      ...histogram(durations, sumMs),
      ...gauge('server_up', '1: takes requests.', ({ state }) => (state === 'up' ? 1 : 0)),
      ...gauge('server_draining', '1: gets nothing new.', ({ state }) => (state === 'draining' ? 1 : 0)),
      ...gauge('server_active', 'Under way now, WebSockets included.', ({ underWay }) => underWay.size),
      ...gauge('server_waiting', 'Waiting for this server to have room.', ({ line }) => line.size),
      ...counter('server_requests_total', 'Sent to it, retries of others included.', (server) => server.requests),
      ...counter('server_failures_total', 'Connections that failed or broke.', ({ failures }) => failures),
      '',
    ].join('\n')
  }

  return { answered, text }
}

function family(name: string, type: 'gauge' | 'counter', help: string, rows: readonly (readonly [string, number])[]): string[] {
  const full = `holdfast_gateway_${name}`
  const lines = rows.map(([labels, value]) => `${full}${labels === '' ? '' : `{${labels}}`} ${value}`)
  return [`# HELP ${full} ${help}`, `# TYPE ${full} ${type}`, ...lines]
}

function answerRows(answers: ReadonlyMap<string, readonly number[]>): (readonly [string, number])[] {
  return [...answers].flatMap(([server, counts]) =>
    CLASSES.map((name, at) => [`server="${server}",status="${name}"`, counts[at] as number] as const).filter(([, value]) => value > 0),
  )
}

function histogram(durations: readonly number[], sumMs: number): string[] {
  const full = 'holdfast_gateway_request_seconds'
  const lines = [`# HELP ${full} From a request's head to the end of its answer.`, `# TYPE ${full} histogram`]
  let total = 0
  durations.forEach((count, at) => {
    total += count
    const bound = BOUNDS_MS[at]
    lines.push(`${full}_bucket{le="${bound === undefined ? '+Inf' : bound / 1_000}"} ${total}`)
  })
  return [...lines, `${full}_sum ${(sumMs / 1_000).toFixed(6)}`, `${full}_count ${total}`]
}
