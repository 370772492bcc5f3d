/** The cluster as the lab sees it, live, and what can be done to it. */
import { signal } from '@preact/signals'

export type NodeState = 'up' | 'joining' | 'paused' | 'draining' | 'down'
export type NodeAction = 'kill' | 'start' | 'pause' | 'resume' | 'drain'
export interface ClusterNode {
  id: string
  url: string
  pid: number | null
  state: NodeState
  sessions: number
  rssBytes: number
  sentBytes: number
  receivedBytes: number
}
export interface ClusterView {
  strategy: string
  gateway: { url: string; policy: string }
  nodes: ClusterNode[]
  totals: { sessions: number; lost: number; lostUpdates: number; stale: number; failed: number }
  notProtected: string[]
  switching: boolean
}
export interface LogLine {
  serial: number
  at: number
  node: string
  type: string
  text: string
}

const LOG_MAX = 200

export const cluster = signal<ClusterView | undefined>(undefined)
export const connected = signal(false)
export const log = signal<LogLine[]>([])
/** What is under way: an action's address. */
export const working = signal<ReadonlySet<string>>(new Set())
export const problem = signal<string | undefined>(undefined)

let serial = 0

export function note(node: string, type: string, text: string, at: number = Date.now()): void {
  log.value = [{ serial: serial++, at, node, type, text }, ...log.value].slice(0, LOG_MAX)
}

/** The browser connects again by itself when the stream breaks. */
export function watch(): void {
  const source = new EventSource('/api/events')
  source.addEventListener('open', () => (connected.value = true))
  source.addEventListener('error', () => (connected.value = false))
  source.addEventListener('cluster', (event) => {
    const next = JSON.parse((event as MessageEvent<string>).data) as ClusterView
    noteStates(cluster.value, next)
    cluster.value = next
  })
  source.addEventListener('session', (event) => {
    const { node, type, key, detail, userId, at } = JSON.parse((event as MessageEvent<string>).data) as Record<string, string> & {
      at: number
    }
    const who = key === undefined ? '' : `session ${key.slice(0, 8)}`
    note(node ?? '', type ?? '', [who, userId === undefined ? '' : `of ${userId}`, detail ?? ''].filter(Boolean).join(' '), at)
  })
}

function noteStates(before: ClusterView | undefined, next: ClusterView): void {
  if (before === undefined) return
  const states = new Map(before.nodes.map((node) => [node.id, node.state]))
  for (const node of next.nodes) if (states.get(node.id) !== node.state) note(node.id, 'server', `is ${node.state}`)
  const gone = before.nodes.filter((node) => !next.nodes.some((other) => other.id === node.id))
  for (const node of gone) note(node.id, 'server', 'was removed')
  if (next.totals.lost > before.totals.lost) note('', 'lost', `${next.totals.lost - before.totals.lost} more sessions lost`)
}

async function call(method: string, path: string, body?: object): Promise<void> {
  const name = `${method} ${path}`
  working.value = new Set([...working.value, name])
  problem.value = undefined
  try {
    const init: RequestInit = { method }
    if (body !== undefined) Object.assign(init, { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } })
    const response = await fetch(path, init)
    if (!response.ok) problem.value = ((await response.json()) as { error: { message: string } }).error.message
  } catch {
    problem.value = 'The lab did not answer. Is it still running?'
  }
  working.value = new Set([...working.value].filter((other) => other !== name))
}

export function act(id: string, action: NodeAction): Promise<void> {
  return call('POST', `/api/nodes/${id}/${action}`)
}
export function addNode(): Promise<void> {
  return call('POST', '/api/nodes')
}
export function removeNode(id: string): Promise<void> {
  return call('DELETE', `/api/nodes/${id}`)
}
export function setStrategy(strategy: string): Promise<void> {
  note('', 'strategy', `switching to ${strategy}`)
  return call('PUT', '/api/strategy', { strategy })
}
export function sendVisitors(count: number): Promise<void> {
  return call('POST', '/api/visitors', { count })
}
