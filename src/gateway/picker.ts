/** Picks the server of a request: the policy's choice among those that may take it. */
import { createHmac, randomBytes } from 'node:crypto'
import { addressBytes } from './address.ts'
import type { PolicyName } from './options.ts'
import { consistentHash } from './policies/consistent-hash.ts'
import { ipHash } from './policies/ip-hash.ts'
import { leastConnections } from './policies/least-connections.ts'
import { roundRobin, type Usable } from './policies/round-robin.ts'
import { cookieOf, sticky } from './policies/sticky.ts'
import type { Server, Servers } from './servers.ts'

export interface PickRequest {
  readonly address: string
  readonly cookie: string | undefined
}

export interface Picker {
  /** `tried`: servers this request has failed on already. */
  pick(request: PickRequest, tried: readonly Server[]): Server | undefined
  /** The gateway's own route cookie, when this answer has to set it. */
  setCookie(request: PickRequest, server: Server): string | undefined
}

/** So long an application has to show its labels before the gateway sticks by a cookie of its own. */
const LABELS_GRACE_MS = 1_000

export function createPicker(policy: PolicyName, routeCookie: string, servers: Servers): Picker {
  const own = ownCookies(`${routeCookie}-gw`)
  const startedAt = performance.now()
  const ownInUse = (): boolean => policy === 'sticky' && !servers.anyLabel && performance.now() - startedAt > LABELS_GRACE_MS
  const ids = (): string[] => servers.list.map(({ id }) => id)
  let last = -1

  function turn(index: number): number {
    if (index >= 0) last = index
    return index
  }

  function inTurn(usable: Usable): number {
    return turn(roundRobin(servers.list.length, usable, last))
  }

  function leastBusy(usable: Usable): number {
    return turn(leastConnections(servers.list.length, usable, (index) => (servers.list[index] as Server).underWay.size, last))
  }

  function byCookie(cookie: string | undefined, usable: Usable): number {
    if (cookie === undefined) return -1
    if (ownInUse()) return servers.list.findIndex((server, index) => usable(index) && own.names(cookie, server))
    const route = cookieOf(cookie, routeCookie)
    return route === undefined ? -1 : sticky(route, (label) => servers.byLabel(label), usable)
  }

  function choose({ address, cookie }: PickRequest, usable: Usable): number {
    const { list } = servers
    if (policy === 'round-robin') return inTurn(usable)
    if (policy === 'least-connections') return leastBusy(usable)
    if (policy === 'consistent-hash') return consistentHash(addressBytes(address), ids(), usable)
    const index = policy === 'ip-hash' ? ipHash(addressBytes(address), list.length, usable) : byCookie(cookie, usable)
    if (index >= 0) return index
    return policy === 'ip-hash' ? inTurn(usable) : leastBusy(usable)
  }

  return {
    pick(request, tried) {
      const { list } = servers
      const untried = (server: Server): boolean => !tried.includes(server)
      const up: Usable = (index) => list[index]?.state === 'up' && untried(list[index])
      const first = choose(request, up)
      if (first >= 0) return list[first]
      const perhaps = (server: Server): boolean => server.state === 'down' && server.suspect
      const second = choose(request, (index) => perhaps(list[index] as Server) && untried(list[index] as Server))
      if (second >= 0) return list[second]
      // The only server left broke a connection: it is asked once more.
      const again = tried.at(-1)
      return again !== undefined && tried.length < 2 && list.includes(again) && (perhaps(again) || again.state === 'up') ? again : undefined
    },
    setCookie(request, server) {
      if (!ownInUse() || (request.cookie !== undefined && own.names(request.cookie, server))) return undefined
      return own.set(server)
    },
  }
}

interface OwnCookies {
  /** True when the Cookie header names this server. */
  names(cookie: string, server: Server): boolean
  set(server: Server): string
}

/** Opaque names for servers, made anew in every process. Not Secure: the gateway speaks plain HTTP. */
function ownCookies(name: string): OwnCookies {
  const key = randomBytes(32)
  const values = new WeakMap<Server, string>()
  function valueOf(server: Server): string {
    const known = values.get(server)
    if (known !== undefined) return known
    const value = createHmac('sha256', key).update(server.id).digest().subarray(0, 16).toString('base64url')
    values.set(server, value)
    return value
  }
  return {
    names: (cookie, server) => cookieOf(cookie, name) === valueOf(server),
    set: (server) => `${name}=${valueOf(server)}; Path=/; HttpOnly; SameSite=Lax`,
  }
}
