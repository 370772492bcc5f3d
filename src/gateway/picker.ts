/** Picks the server of a request: the policy's choice among those that may take it. */
import { addressBytes } from './address.ts'
import { loadsOf, warmthOf } from './load.ts'
import type { PolicyName } from './options.ts'
import { ownCookies } from './own-cookies.ts'
import { consistentHash } from './policies/consistent-hash.ts'
import { ipHash } from './policies/ip-hash.ts'
import { leastConnections } from './policies/least-connections.ts'
import { roundRobin, type Usable } from './policies/round-robin.ts'
import { cookieOf, hasOtherCookie, sticky } from './policies/sticky.ts'
import type { Server, Servers } from './servers.ts'

export interface PickRequest {
  readonly address: string
  readonly cookie: string | undefined
  /** Carries a session in a header. */
  readonly hasToken: boolean
}

export interface PickerSettings {
  readonly policy: PolicyName
  readonly routeCookie: string
  readonly slowStartMs: number
  /** The gateway's clients use TLS. */
  readonly secure: boolean
  /** As `performance.now`, which it is unless a test brings a clock. */
  readonly now?: () => number
}

export interface Picker {
  /** `tried`: servers this request has failed on already. */
  pick(request: PickRequest, tried: readonly Server[]): Server | undefined
  /** The gateway's own route cookie, when this answer has to set it. */
  setCookie(request: PickRequest, server: Server): string | undefined
}

/** So long an application has to show its labels before the gateway sticks by a cookie of its own. */
export const LABELS_GRACE_MS = 1_000

export function createPicker(settings: PickerSettings, servers: Servers): Picker {
  const { policy, routeCookie, slowStartMs, secure, now: clock = () => performance.now() } = settings
  const own = ownCookies(`${routeCookie}-gw`, secure)
  const startedAt = clock()
  const hashes = policy === 'consistent-hash'
  const ownInUse = (): boolean => (policy === 'sticky' || hashes) && !servers.anyLabel && clock() - startedAt > LABELS_GRACE_MS
  const credits = new WeakMap<Server, number>()
  let last = -1

  function turn(index: number): number {
    if (index >= 0) last = index
    return index
  }

  /** A cold server lets turns pass. */
  function takesTurn(server: Server, now: number): boolean {
    const warmth = warmthOf(server, slowStartMs, now)
    if (warmth === 1) return true
    const credit = (credits.get(server) ?? 0) + warmth
    credits.set(server, credit >= 1 ? credit - 1 : credit)
    return credit >= 1
  }

  function inTurn(usable: Usable): number {
    const { list } = servers
    if (slowStartMs === 0) return turn(roundRobin(list.length, usable, last))
    const now = clock()
    const index = roundRobin(list.length, (at) => usable(at) && takesTurn(list[at] as Server, now), last)
    return turn(index >= 0 ? index : roundRobin(list.length, usable, last))
  }

  function leastBusy(usable: Usable, load: (server: Server) => number): number {
    const { list } = servers
    const now = clock()
    const of = (index: number): number => {
      const server = list[index] as Server
      return slowStartMs === 0 ? load(server) : (load(server) + 1) / warmthOf(server, slowStartMs, now)
    }
    return turn(leastConnections(list.length, usable, of, last))
  }

  const underWay = (server: Server): number => server.underWay.size

  /** A visitor without a session goes where there is room; it counts until the server says how many it has. */
  function newcomer(index: number): number {
    const server = servers.list[index]
    if (server !== undefined) server.newcomers++
    return index
  }

  function byCookie({ cookie, hasToken }: PickRequest, usable: Usable): number {
    if (cookie === undefined) return -1
    if (ownInUse()) return servers.list.findIndex((server, index) => usable(index) && own.names(cookie, server))
    const route = cookieOf(cookie, routeCookie)
    if (route === undefined) return -1
    // A route cookie alone holds no session: it must not crowd visitors on one server.
    if (hasToken || hasOtherCookie(cookie, routeCookie)) return sticky(route, (label) => servers.byLabel(label), usable)
    const loads = loadsOf(servers.list)
    return sticky(
      route,
      (label) => servers.byLabel(label),
      (index) => usable(index) && !loads.isAbove(servers.list[index] as Server),
    )
  }

  function home({ address }: PickRequest, usable: Usable): number {
    return consistentHash(
      addressBytes(address),
      servers.list.map(({ id }) => id),
      usable,
    )
  }

  /** Without any cookie there is no session yet: only then may a full house send a visitor on. */
  function hashed(request: PickRequest, usable: Usable): number {
    if (request.cookie !== undefined || request.hasToken) return home(request, usable)
    const loads = loadsOf(servers.list)
    const index = home(request, (at) => usable(at) && !loads.isAbove(servers.list[at] as Server))
    return newcomer(index >= 0 ? index : home(request, usable))
  }

  function choose(request: PickRequest, usable: Usable): number {
    const { list } = servers
    const roomy: Usable = (index) => usable(index) && !servers.isFull(list[index] as Server)
    const free = (pick: (among: Usable) => number): number => {
      const index = pick(roomy)
      return index >= 0 ? index : pick(usable)
    }
    if (policy === 'round-robin') return free(inTurn)
    if (policy === 'least-connections') return free((among) => leastBusy(among, underWay))
    if (policy === 'ip-hash') {
      const index = ipHash(addressBytes(request.address), list.length, usable)
      return index >= 0 ? index : free(inTurn)
    }
    const bound = byCookie(request, usable)
    if (bound >= 0) return bound
    if (hashes) return hashed(request, usable)
    const { of } = loadsOf(list)
    return newcomer(free((among) => leastBusy(among, of)))
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
      if (policy !== 'sticky' && !hashes) return undefined
      if (!ownInUse() || (request.cookie !== undefined && own.names(request.cookie, server))) return undefined
      // The hash finds who is at home.
      if (hashes && servers.list[home(request, (index) => servers.list[index]?.state === 'up')] === server) return undefined
      return own.set(server)
    },
  }
}
