import type { Timer } from '../seam.ts'
import type { RedisAddress } from './redis-address.ts'
import { ask, exchange } from './redis-ask.ts'
import type { Wrote } from './redis-ask.ts'
import { ownConnection } from './redis-connection.ts'
import type { ClientOptions, ConnectionListener, RedisConnection } from './redis-connection.ts'
import { messageOf, problemOf, RedisOutage } from './redis-driver.ts'
import type { RedisDriver } from './redis-driver.ts'
import type { RedisMaster, RedisServers } from './redis-servers.ts'
import { ownersFrom, prevailing, probesFor, redirectFrom, slotOf } from './redis-slots.ts'
import type { Owners } from './redis-slots.ts'
import { waitingList } from './redis-waiting.ts'

export interface ClusterPlan {
  readonly driver: RedisDriver
  /** Some nodes, from which the others are learnt. */
  readonly seeds: readonly RedisAddress[]
  readonly prefix: string
  options(address: RedisAddress): ClientOptions
}

const REPLACING_MS = 250
const NEW_CONNECTION_MS = 1_000
const MOST_HOPS = 6
/** How long one node may take to say which slots are where. */
const VIEW_MS = 500
/** While a part of the cluster cannot be reached, somebody may take it over. */
const LOOK_AGAIN_MS = 150
const NO_CLUSTER = 'it is not a cluster'

/** One connection to each master, as each announces the changes of its own keys. */
export function clusterServers(plan: ClusterPlan, listener: ConnectionListener): RedisServers {
  const { runtime, deadlineMs } = listener
  const waiting = waitingList(runtime)
  const nodes = new Map<string, RedisConnection>()
  const down = new Map<string, string>()
  let owners: Owners | undefined
  let masters: ReadonlySet<string> = new Set()
  let probes: ReadonlyMap<string, string> | undefined
  /** Counts changes of who holds what: copies of moved sessions are not announced by their new master. */
  let generation = 0
  let problem = 'no answer'
  let refreshing: Promise<void> | undefined
  let lookAgain: Timer | undefined
  let tracking = false
  let closed = false

  function node(id: string): RedisConnection {
    const known = nodes.get(id)
    if (known !== undefined) return known
    const address = addressOf(id)
    const created = ownConnection(
      { driver: plan.driver, options: plan.options, find: () => Promise.resolve(address) },
      { ...listener, up: () => isUp(id), down: (why) => isDown(id, why) },
    )
    if (tracking) created.track()
    nodes.set(id, created)
    return created
  }

  function isUp(id: string): void {
    down.delete(id)
    report()
    if (owners === undefined) refreshSoon()
    waiting.wake()
  }

  function isDown(id: string, why: string): void {
    down.set(id, `${why} at ${id}`)
    report()
    refreshSoon()
  }

  /** The store is up when every part of it is. */
  function report(): void {
    const trouble = [...down].find(([id]) => owners === undefined || masters.has(id))
    if (trouble !== undefined) {
      problem = trouble[1]
      // Before the cluster is known, one node that answers is enough.
      if (owners !== undefined || down.size >= nodes.size) listener.down(problem)
    } else if (owners?.includes(undefined)) {
      problem = 'some slots have no master'
      listener.down(problem)
    } else if (owners !== undefined) listener.up()
  }

  function refreshSoon(): void {
    if (closed) return
    refreshing ??= refresh().finally(() => {
      refreshing = undefined
    })
  }

  async function refresh(): Promise<void> {
    lookAgain?.cancel()
    const usable = [...nodes].filter(([, { client }]) => client() !== undefined)
    if (usable.length === 0) for (const { host, port } of plan.seeds) node(`${host}:${port}`)
    const views = await Promise.all(usable.map(([id, connection]) => view(id, connection)))
    const prevails = prevailing(views.filter((one) => one !== undefined))
    if (closed) return
    if (prevails !== undefined) adopt(prevails)
    report()
    const isWhole = owners !== undefined && !owners.includes(undefined) && ![...masters].some((id) => down.has(id))
    if (!isWhole) lookAgain = runtime.setTimer(LOOK_AGAIN_MS, refreshSoon)
  }

  async function view(id: string, connection: RedisConnection): Promise<Owners | undefined> {
    try {
      const reply = await ask(connection, ['CLUSTER', 'SLOTS'], Math.min(deadlineMs, VIEW_MS), runtime)
      down.delete(id)
      return ownersFrom(reply, addressOf(id).host)
    } catch (error) {
      if (!isOutage(error)) down.set(id, /cluster support disabled/.test(messageOf(error)) ? NO_CLUSTER : `${problemOf(error)} at ${id}`)
      return undefined
    }
  }

  function adopt(next: Owners): void {
    const before = owners
    if (before !== undefined && next.every((id, slot) => before[slot] === id)) return
    take(next)
    for (const id of masters) node(id)
    for (const [id, connection] of nodes) {
      if (masters.has(id)) continue
      nodes.delete(id)
      down.delete(id)
      connection.close()
    }
    waiting.wake()
  }

  function take(next: Owners): void {
    owners = next
    masters = new Set(next.filter((id) => id !== undefined))
    probes = undefined
    generation += 1
    listener.lost()
  }

  async function send(args: string[], name: string, until: number, wrote?: Wrote): Promise<unknown> {
    const slot = slotOf(name)
    if (owners === undefined) await waiting.wait(until - runtime.monotonic(), () => owners !== undefined || closed)
    let target = owners?.[slot]
    let isAsking = false
    for (let hop = 0; hop < MOST_HOPS; hop++) {
      if (target === undefined) throw new RedisOutage(owners === undefined ? problem : 'some slots have no master')
      try {
        return await sendTo(target, args, until, isAsking, wrote)
      } catch (error) {
        const redirect = redirectFrom(messageOf(error), addressOf(target).host)
        if (redirect === undefined) throw troubled(error)
        target = redirect.to
        isAsking = redirect.kind === 'ASK'
        if (!isAsking) follow(slot, target)
      }
    }
    throw new RedisOutage('it redirects in circles')
  }

  /** One slot is known to have moved; others probably have, too. */
  function follow(slot: number, to: string): void {
    if (owners !== undefined && owners[slot] !== to) take(owners.with(slot, to))
    refreshSoon()
  }

  function troubled(error: unknown): unknown {
    if (isOutage(error) || problemOf(error) === 'CLUSTERDOWN') refreshSoon()
    return error
  }

  async function sendTo(id: string, args: string[], until: number, isAsking = false, wrote?: Wrote): Promise<unknown> {
    const connection = node(id)
    const left = until - runtime.monotonic()
    if (connection.isReplacing) await connection.whenReady(Math.min(left, REPLACING_MS))
    else if (connection.client() === undefined && !down.has(id)) await connection.whenReady(Math.min(left, NEW_CONNECTION_MS))
    return exchange(
      connection,
      (client) => {
        if (isAsking) client.sendCommand(['ASKING']).catch(() => {})
        return client.sendCommand(args)
      },
      until - runtime.monotonic(),
      runtime,
      wrote,
    )
  }

  async function confirmMaster(id: string): Promise<boolean> {
    const probe = probes?.get(id)
    // Not a PING: one that is no master of it any more refuses.
    const isConfirmed = probe !== undefined && (await node(id).confirm(['EXISTS', probe], probe)) !== undefined
    if (!isConfirmed) refreshSoon()
    return isConfirmed
  }

  refreshSoon()
  return {
    get problem(): string {
      return problem
    },
    async whenReady(ms): Promise<boolean> {
      const until = runtime.monotonic() + ms
      const isWhole = (): boolean => owners !== undefined && [...masters].every((id) => nodes.get(id)?.client() !== undefined)
      while (!isWhole() && !closed && runtime.monotonic() < until) await waiting.wait(until - runtime.monotonic(), isWhole)
      return isWhole()
    },
    send,
    async masters(until): Promise<readonly RedisMaster[]> {
      if (owners === undefined) await waiting.wait(until - runtime.monotonic(), () => owners !== undefined || closed)
      if (owners === undefined) throw new RedisOutage(problem)
      return [...masters].map((id) => ({ send: (args, before) => sendTo(id, args, before) }))
    },
    track(): void {
      tracking = true
      for (const connection of nodes.values()) connection.track()
    },
    async confirm(): Promise<unknown> {
      const before = generation
      if (owners === undefined) return undefined
      probes ??= probesFor(owners, masters, plan.prefix)
      const confirmed = await Promise.all([...masters].map(confirmMaster))
      return before === generation && confirmed.every(Boolean) ? true : undefined
    },
    close(): void {
      closed = true
      lookAgain?.cancel()
      for (const connection of nodes.values()) connection.close()
      waiting.wake()
    },
  }
}

function addressOf(id: string): RedisAddress {
  const colon = id.lastIndexOf(':')
  return { host: id.slice(0, colon), port: Number(id.slice(colon + 1)) }
}

/** Nothing came back, as opposed to a server that says no. */
function isOutage(error: unknown): boolean {
  return error instanceof RedisOutage || problemOf(error) === 'connection closed' || !/^[A-Z]/.test(messageOf(error))
}
