/** The gateway's servers: which take requests, what is under way on each, and which labels they carry. */
import type { ServerAddress } from './options.ts'
import { isLabel } from './policies/sticky.ts'
import type { ServerEvent, ServerState } from './server-event.ts'
import { createPool, type Pool, type PoolSettings } from './upstream/pool.ts'
import { createWaitingLine, type WaitingLine } from './waiting-line.ts'

/** Something under way on a server. */
export interface UnderWay {
  /** The server accepts but does not answer: go elsewhere if that is safe. */
  serverHangs(): void
  /** The server is removed and its time is over. */
  end(): void
}

export interface Server extends ServerAddress {
  readonly pool: Pool
  readonly underWay: Set<UnderWay>
  readonly line: WaitingLine
  state: ServerState
  /** Down, but perhaps only slow or upset by one request: better than no server at all. */
  suspect: boolean
  /** Drained by hand; ends when the server's process does. */
  drained: boolean
  /** A new process: it gets less until it has warmed up. */
  fresh: boolean
  /** When it warmed up or will have, by `performance.now`. */
  warmAt: number
  label: string | undefined
  /** Sessions it says it has, and visitors sent there since. Undefined: it does not say. */
  sessions: number | undefined
  newcomers: number
  requests: number
  failures: number
  /** Its first health check has ended. */
  known: boolean
  /** Asks for a health check now. */
  recheck: () => void
  idle: (() => void) | undefined
}

/** What a health check found. `gone`: nobody listens, or its process just ended. `hangs`: it accepts and does not answer. */
export type Finding = 'up' | 'draining' | 'gone' | 'hangs' | 'failing'

export interface ServerSettings extends PoolSettings {
  readonly slowStartMs: number
  readonly limits: { readonly perServer: number; readonly queue: number; readonly queueMs: number }
  /** As `performance.now`, which it is unless a test brings a clock. */
  readonly now?: () => number
}

export interface Servers {
  readonly list: readonly Server[]
  /** One that is not there from the start begins slowly. */
  add(address: ServerAddress, isLate?: boolean): Server
  find(id: string): Server | undefined
  /** Puts them into this order; servers that are not named stay behind. */
  arrange(ids: readonly string[]): void
  /** Takes it out of the list at once; what is under way goes on. */
  remove(server: Server): void
  checked(server: Server, found: Finding, why: string): void
  /** What a request found: no connection, or one that broke. */
  failed(server: Server, how: 'dial' | 'reset'): void
  drain(server: Server): void
  resume(server: Server): void
  isFull(server: Server): boolean
  begin(server: Server, what: UnderWay): void
  end(server: Server, what: UnderWay): void
  /** Resolves true when nothing is under way, false at the deadline. */
  whenIdle(server: Server, deadlineMs: number): Promise<boolean>
  learn(server: Server, label: string): void
  byLabel(label: string): number
  readonly anyLabel: boolean
  notify(event: ServerEvent): void
}

export function createServers(settings: ServerSettings, notify: (event: ServerEvent) => void): Servers {
  const list: Server[] = []
  const labels = new Map<string, Server>()
  const { perServer, queue, queueMs } = settings.limits
  const now = settings.now ?? (() => performance.now())

  function move(server: Server, state: ServerState, why: string): void {
    const before = server.known ? server.state : undefined
    server.known = true
    if (state === 'up' && before !== 'up') warmUp(server)
    server.state = state
    if (before !== state && list.includes(server)) notify({ type: state, id: server.id, why })
    if (state !== 'up') server.line.sendAway()
  }

  /** With nobody else up there is nobody to share with. */
  function warmUp(server: Server): void {
    const others = list.some((other) => other !== server && other.state === 'up')
    server.warmAt = server.fresh && others ? now() + settings.slowStartMs : 0
    server.fresh = false
  }

  function down(server: Server, suspect: boolean, why: string): void {
    server.suspect = suspect
    move(server, 'down', why)
  }

  function forget(server: Server): void {
    if (server.label !== undefined && labels.get(server.label) === server) labels.delete(server.label)
    server.label = undefined
  }

  const isFull = (server: Server): boolean => server.underWay.size >= perServer

  return {
    list,
    find: (id) => list.find((server) => server.id === id),
    add(address, isLate = false) {
      const server: Server = {
        ...address,
        pool: createPool(address.url, settings),
        underWay: new Set(),
        line: createWaitingLine(queue, queueMs),
        state: 'down',
        suspect: false,
        drained: false,
        fresh: isLate,
        warmAt: 0,
        label: undefined,
        sessions: undefined,
        newcomers: 0,
        requests: 0,
        failures: 0,
        known: false,
        recheck: () => undefined,
        idle: undefined,
      }
      list.push(server)
      return server
    },
    arrange(ids) {
      const place = (server: Server): number => (ids.includes(server.id) ? ids.indexOf(server.id) : ids.length)
      list.sort((one, other) => place(one) - place(other))
    },
    remove(server) {
      const at = list.indexOf(server)
      if (at >= 0) list.splice(at, 1)
      forget(server)
      server.line.sendAway()
    },
    checked(server, found, why) {
      // A new process in its place is a new server: draining was about the old one.
      if (found === 'gone') {
        server.drained = false
        server.fresh = server.known
        server.sessions = undefined
      }
      if (found === 'up' || found === 'draining') {
        server.suspect = false
        return move(server, server.drained ? 'draining' : found, why)
      }
      down(server, found === 'hangs' && !server.drained, why)
      if (found === 'hangs') for (const what of [...server.underWay]) what.serverHangs()
    },
    failed(server, how) {
      server.failures++
      // One that is draining closes its listener before its last requests end.
      if (server.state === 'up') down(server, how === 'reset', how === 'dial' ? 'it cannot be reached' : 'a connection to it broke')
      server.recheck()
    },
    drain(server) {
      server.drained = true
      server.suspect = false
      if (server.state === 'up') move(server, 'draining', 'asked to')
    },
    resume(server) {
      server.drained = false
      server.recheck()
    },
    isFull,
    begin(server, what) {
      server.requests++
      server.underWay.add(what)
    },
    end(server, what) {
      if (!server.underWay.delete(what)) return
      if (server.line.size > 0 && !isFull(server)) server.line.admitOne()
      else if (server.underWay.size === 0) server.idle?.()
    },
    whenIdle(server, deadlineMs) {
      if (server.underWay.size === 0) return Promise.resolve(true)
      return new Promise((resolve) => {
        const timer = setTimeout(() => resolve(false), deadlineMs)
        const before = server.idle
        server.idle = () => {
          before?.()
          clearTimeout(timer)
          resolve(true)
        }
      })
    },
    learn(server, label) {
      if (server.label === label || !isLabel(label) || !list.includes(server)) return
      const holder = labels.get(label)
      if (holder !== undefined && holder.state === 'up') {
        const why = `it tells the route label of ${holder.id}: give each server a name of its own`
        return notify({ type: 'twin', id: server.id, why })
      }
      forget(server)
      server.label = label
      labels.set(label, server)
    },
    byLabel(label) {
      const server = labels.get(label)
      return server === undefined ? -1 : list.indexOf(server)
    },
    get anyLabel() {
      return labels.size > 0
    },
    notify,
  }
}
