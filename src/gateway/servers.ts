/** The gateway's servers: which take requests, what is under way on each, and which labels they carry. */
import { Pool } from '../vendor/undici.ts'
import type { ServerAddress } from './options.ts'
import { isLabel } from './policies/sticky.ts'
import type { ServerEvent, ServerState } from './server-event.ts'

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
  state: ServerState
  /** Down, but perhaps only slow or upset by one request: better than no server at all. */
  suspect: boolean
  /** Drained by hand; ends when the server's process does. */
  drained: boolean
  label: string | undefined
  requests: number
  failures: number
  /** Asks for a health check now. */
  recheck: () => void
  idle: (() => void) | undefined
}

/** What a health check found. `gone`: nobody listens, or its process just ended. `hangs`: it accepts and does not answer. */
export type Finding = 'up' | 'draining' | 'gone' | 'hangs' | 'failing'

export interface PoolSettings {
  readonly connectTimeoutMs: number
  readonly headersTimeoutMs: number
  readonly idleTimeoutMs: number
}

/** A server that hangs keeps connections; this many at most. */
const CONNECTIONS_MAX = 1024

export interface Servers {
  readonly list: readonly Server[]
  add(address: ServerAddress): Server
  find(id: string): Server | undefined
  /** Takes it out of the list at once; what is under way goes on. */
  remove(server: Server): void
  checked(server: Server, found: Finding, why: string): void
  /** What a request found: no connection, or one that broke. */
  failed(server: Server, how: 'dial' | 'reset'): void
  drain(server: Server): void
  resume(server: Server): void
  begin(server: Server, what: UnderWay): void
  end(server: Server, what: UnderWay): void
  /** Resolves true when nothing is under way, false at the deadline. */
  whenIdle(server: Server, deadlineMs: number): Promise<boolean>
  learn(server: Server, label: string): void
  byLabel(label: string): number
  readonly anyLabel: boolean
  notify(event: ServerEvent): void
}

export function createServers(settings: PoolSettings, notify: (event: ServerEvent) => void): Servers {
  const list: Server[] = []
  const labels = new Map<string, Server>()

  function move(server: Server, state: ServerState, why: string): void {
    const before = server.state
    server.state = state
    if (before !== state && list.includes(server)) notify({ type: state, id: server.id, why })
  }

  function down(server: Server, suspect: boolean, why: string): void {
    server.suspect = suspect
    move(server, 'down', why)
  }

  function forget(server: Server): void {
    if (server.label !== undefined && labels.get(server.label) === server) labels.delete(server.label)
    server.label = undefined
  }

  return {
    list,
    find: (id) => list.find((server) => server.id === id),
    add(address) {
      const server: Server = {
        ...address,
        pool: new Pool(address.url, {
          allowH2: false,
          pipelining: 1,
          connections: CONNECTIONS_MAX,
          connectTimeout: settings.connectTimeoutMs,
          headersTimeout: settings.headersTimeoutMs,
          bodyTimeout: settings.idleTimeoutMs,
        }),
        underWay: new Set(),
        state: 'down',
        suspect: false,
        drained: false,
        label: undefined,
        requests: 0,
        failures: 0,
        recheck: () => undefined,
        idle: undefined,
      }
      list.push(server)
      return server
    },
    remove(server) {
      const at = list.indexOf(server)
      if (at >= 0) list.splice(at, 1)
      forget(server)
    },
    checked(server, found, why) {
      // A new process in its place is a new server: draining was about the old one.
      if (found === 'gone') server.drained = false
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
    begin(server, what) {
      server.requests++
      server.underWay.add(what)
    },
    end(server, what) {
      if (server.underWay.delete(what) && server.underWay.size === 0) server.idle?.()
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
