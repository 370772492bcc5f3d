import type { CookieBytes } from './cookie-bytes.ts'
import type { PerRequest } from './store-counts.ts'
import { VARIANTS } from './variants.ts'

export interface Figures {
  /** CPU µs per request, all servers and the store. */
  readonly cpuMicros: number
  /** Of them outside the kernel. A slow server pays the kernel for waking the load generator with each answer. */
  readonly userMicros: number
  /** Of them the store's. */
  readonly storeMicros: number
  readonly perSecond: number
  /** What the store counted, where it counts. */
  readonly store?: PerRequest | undefined
}

export interface Measured {
  readonly name: string
  readonly read: Figures
  readonly write: Figures
  readonly cookies: CookieBytes
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

const PEERS = [
  'express-session + connect-redis',
  'express-session + connect-pg-simple',
  'express-session + connect-memcached',
  'iron-session',
  'cookie-session',
  '@fastify/secure-session',
  'hono-sessions',
]

/** A table: CPU over the bare framework, as a ratio of each peer and of the floor, and the throughput beside the bare framework's. */
export function report(measured: readonly Measured[]): string {
  const of = (name: string): Measured | undefined => measured.find((one) => one.name === name)
  /** What it is built on, alone. */
  const under = ({ name }: Measured): Measured => of(VARIANTS[name]?.bare ?? 'bare') as Measured
  const lines = measured
    .filter(({ name }) => name.startsWith('bare'))
    .map(
      ({ name, read }) =>
        `${name === 'bare' ? 'bare Express' : name}: ${read.cpuMicros.toFixed(1)} CPU µs per request, ${read.perSecond.toFixed(0)} requests/s`,
    )
  lines.push('')
  for (const kind of ['read', 'write'] as const) {
    for (const what of ['cpuMicros', 'userMicros'] as const) lines.push(...table(kind, what), '')
  }
  return [...lines, ...cookieTable(measured), '', ...storeTable(measured)].join('\n')

  function table(kind: 'read' | 'write', what: 'cpuMicros' | 'userMicros'): string[] {
    const over = (one: Measured): number => one[kind][what] - under(one)[kind][what]
    const title = `${kind.toUpperCase()}, ${what === 'cpuMicros' ? 'CPU' : 'CPU outside the kernel'}`
    const columns = ['µs over bare', 'of the floor', ...PEERS.map((peer) => `of ${peer.split(' ').at(-1)}`), 'throughput of bare']
    const rows = measured
      .filter((one) => !one.name.startsWith('bare'))
      .map((one) => {
        const ratio = (other: Measured | undefined): string => (other === undefined ? '' : (over(one) / over(other)).toFixed(2))
        return [
          one.name,
          over(one).toFixed(1),
          ratio(of('floor')),
          ...PEERS.map((peer) => ratio(of(peer))),
          (one[kind].perSecond / under(one)[kind].perSecond).toFixed(2),
        ]
      })
    return [[title, ...columns], ...rows].map(
      ([name = '', ...cells]) => `${name.padEnd(36)}${cells.map((cell, at) => cell.padStart((columns[at] as string).length + 3)).join('')}`,
    )
  }
}

/** What the cookies weigh, where there are any. */
function cookieTable(measured: readonly Measured[]): string[] {
  const rows = measured
    .filter(({ cookies }) => cookies.sent > 0)
    .map(({ name, cookies }) => [name, cookies.sent.toFixed(0), cookies.set.toFixed(0)])
  return [['COOKIES, bytes', 'of a request', "set by a write's answer"], ...rows].map(
    ([name = '', ...cells]) => `${name.padEnd(36)}${cells.map((cell) => cell.padStart(26)).join('')}`,
  )
}

/** The CPU time of the store, and what Redis itself counted: commands sent per request, and bytes both ways. */
function storeTable(measured: readonly Measured[]): string[] {
  const rows = measured
    .filter(({ read, write }) => read.storeMicros > 0 || write.storeMicros > 0)
    .map(({ name, read, write }) => [
      name,
      ...[read, write].flatMap(({ storeMicros, store }) => [
        storeMicros.toFixed(1),
        store?.commands.toFixed(3) ?? '',
        store?.bytes.toFixed(0) ?? '',
        store?.pingsPerSecond.toFixed(0) ?? '',
      ]),
    ])
  if (rows.length === 0) return []
  const columns = ['CPU µs', 'commands', 'bytes', 'pings/s']
  const title = [
    'STORE, per request (pings/s apart)',
    ...['read', 'write'].flatMap((kind) => columns.map((column) => `${kind}: ${column}`)),
  ]
  return [title, ...rows].map(([name = '', ...cells]) => `${name.padEnd(36)}${cells.map((cell) => cell.padStart(16)).join('')}`)
}
