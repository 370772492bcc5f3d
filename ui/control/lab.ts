/** The cluster as the lab sees it, live, and what can be done to it. */
import { signal } from '@preact/signals'
import { sessionWords, stateWords } from './event-words.ts'
import { sample } from './history.ts'

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
  requests: number
  /** Messages with sessions in them, by receiver. */
  sentTo: Record<string, number>
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
  isBad: boolean
  /** The session it is about. */
  key: string | undefined
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

const BAD = new Set(['regressed', 'degraded', 'conflict', 'invalid', 'lateWrite'])

function note(line: Pick<LogLine, 'node' | 'text'> & Partial<LogLine>): void {
  log.value = [{ serial: serial++, at: Date.now(), isBad: false, key: undefined, ...line }, ...log.value].slice(0, LOG_MAX)
}

/** The browser connects again by itself when the stream breaks. */
export function watch(): void {
  const source = new EventSource('/api/events')
  source.addEventListener('open', () => (connected.value = true))
  source.addEventListener('error', () => (connected.value = false))
  source.addEventListener('cluster', (event) => {
    const next = JSON.parse((event as MessageEvent<string>).data) as ClusterView
    noteStates(cluster.value, next)
    sample(next)
    cluster.value = next
  })
  source.addEventListener('session', (event) => {
    const {
      node = '',
      type = '',
      key,
      detail,
      userId,
      at,
    } = JSON.parse((event as MessageEvent<string>).data) as Record<string, string> & {
      at: number
    }
    const owner = userId === undefined ? '' : `of ${userId} `
    note({ node, at, key, isBad: BAD.has(type), text: owner + sessionWords(type, detail, key !== undefined) })
  })
}

function noteStates(before: ClusterView | undefined, next: ClusterView): void {
  if (before === undefined) return
  const states = new Map(before.nodes.map((node) => [node.id, node.state]))
  for (const { id, state } of next.nodes) if (states.get(id) !== state) note({ node: id, isBad: state === 'down', text: stateWords(state) })
  for (const { id } of before.nodes) if (!next.nodes.some((other) => other.id === id)) note({ node: id, text: 'was removed.' })
  for (const [name, words] of TALLIES) {
    const more = next.totals[name] - before.totals[name]
    if (more > 0) note({ node: '', isBad: true, text: `${words}: ${more} more.` })
  }
}

const TALLIES = [
  ['lost', 'Sessions lost'],
  ['lostUpdates', 'Confirmed updates lost'],
  ['stale', 'Answers older than what was seen before'],
  ['failed', 'Failed requests'],
] as const

/** True when the lab did it; else `problem` says why not. */
export async function call(method: string, path: string, body?: object): Promise<boolean> {
  const name = `${method} ${path}`
  working.value = new Set([...working.value, name])
  problem.value = undefined
  let done = false
  try {
    const init: RequestInit = { method }
    if (body !== undefined) Object.assign(init, { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } })
    const response = await fetch(path, init)
    done = response.ok
    if (!done) problem.value = ((await response.json()) as { error: { message: string } }).error.message
  } catch {
    problem.value = 'The lab did not answer. Is it still running?'
  }
  working.value = new Set([...working.value].filter((other) => other !== name))
  return done
}

export function act(id: string, action: NodeAction): Promise<boolean> {
  return call('POST', `/api/nodes/${id}/${action}`)
}
export function addNode(): Promise<boolean> {
  return call('POST', '/api/nodes')
}
export function removeNode(id: string): Promise<boolean> {
  return call('DELETE', `/api/nodes/${id}`)
}
export function setStrategy(strategy: string, options: object = {}): Promise<boolean> {
  note({ node: '', text: `The cluster starts anew with ${strategy}: all sessions begin again.` })
  return call('PUT', '/api/strategy', { strategy, options })
}
export function sendVisitors(count: number): Promise<boolean> {
  return call('POST', '/api/visitors', { count })
}
/** Everybody comes back once. */
export function returnVisitors(): Promise<boolean> {
  return call('POST', '/api/visitors/return')
}
/** The newest figures, without waiting for the stream. */
export async function readCluster(): Promise<ClusterView | undefined> {
  try {
    const view = (await (await fetch('/api/cluster')).json()) as ClusterView
    cluster.value = view
    return view
  } catch {
    return undefined
  }
}
