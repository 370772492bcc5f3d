/** The figures of the last half minute, and what moved since the figures before. */
import { signal } from '@preact/signals'
import type { ClusterNode, ClusterView } from './lab.ts'

const SAMPLES = 60
/** Figures arrive twice a second, and at once when something happens: those in between would be noise. */
const LEAST_MS = 400

export interface Series {
  sessions: number[]
  rssBytes: number[]
  bytesPerSecond: number[]
  requestsPerSecond: number[]
}
/** What moved within the last figures: requests by server, session messages by sender and receiver. */
export interface Moved {
  requests: ReadonlyMap<string, number>
  copies: readonly { from: string; to: string; count: number }[]
  /** Between servers as well, all together. */
  perSecond: number
}

export const history = signal<ReadonlyMap<string, Series>>(new Map())
export const moved = signal<Moved>({ requests: new Map(), copies: [], perSecond: 0 })

let last: { at: number; nodes: ReadonlyMap<string, ClusterNode> } | undefined

export function sample(view: ClusterView): void {
  const now = performance.now()
  if (last !== undefined && now - last.at < LEAST_MS) return
  const before = last
  last = { at: now, nodes: new Map(view.nodes.map((node) => [node.id, node])) }
  if (before === undefined) return
  const seconds = (now - before.at) / 1000
  const next = new Map<string, Series>()
  const requests = new Map<string, number>()
  const copies: Moved['copies'][number][] = []
  for (const node of view.nodes) {
    const former = before.nodes.get(node.id) ?? node
    const series = history.value.get(node.id)
    const asked = since(former.requests, node.requests)
    const bytes = since(former.sentBytes, node.sentBytes) + since(former.receivedBytes, node.receivedBytes)
    requests.set(node.id, asked)
    for (const [to, count] of Object.entries(node.sentTo)) copies.push({ from: node.id, to, count: since(former.sentTo[to] ?? 0, count) })
    next.set(node.id, {
      sessions: append(series?.sessions, node.sessions),
      rssBytes: append(series?.rssBytes, node.rssBytes),
      bytesPerSecond: append(series?.bytesPerSecond, bytes / seconds),
      requestsPerSecond: append(series?.requestsPerSecond, asked / seconds),
    })
  }
  history.value = next
  moved.value = { requests, copies: copies.filter(({ count }) => count > 0), perSecond: sum(requests.values()) / seconds }
}

/** A server that started anew counts from zero. */
function since(before: number, now: number): number {
  return now >= before ? now - before : now
}

function append(values: readonly number[] = [], value: number): number[] {
  return [...values, value].slice(-SAMPLES)
}

function sum(values: Iterable<number>): number {
  let total = 0
  for (const value of values) total += value
  return total
}
