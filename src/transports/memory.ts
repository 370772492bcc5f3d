import { checkFrameSize } from '../core/frames.ts'
import { SessionError } from '../errors.ts'
import type { Peer, Runtime, Transport, TransportHandlers } from '../seam.ts'
import { memoryPath, seededRandom, type MemoryPath, type PathFaults } from './memory-path.ts'

export type { PathFaults } from './memory-path.ts'

export interface MemoryNetworkOptions {
  /**
   * Clock and timers of the network. Default: those of the first server that starts. Give one where servers have clocks that
   * can crash or pause; frames to a paused server are still delivered unless its paths are held.
   */
  runtime?: Runtime
  /** Of all randomness in latencies and faults. Default 1. */
  seed?: number
  /** Of every frame: fixed, or at random between two bounds. Default 0. */
  latencyMs?: number | readonly [number, number]
  /** A server that was refused may connect again after this time. Default 100. */
  relinkMs?: number
  /** How long a partition lasts before servers call each other down; healed earlier, frames are only late. Default 0. */
  downAfterMs?: number
}

/** A network inside one process, with faults by the names of servers. Same seed, same calls, same clock: same run. */
export interface MemoryNetwork {
  /** A transport of one server; it joins when it is started. */
  join(): Transport
  /** Latency and random faults of frames from one server to another; `'*'` stands for any. Later calls add to earlier ones. */
  faults(from: string, to: string, faults: PathFaults): void
  /** Delays all frames on the way from one server to another until `release`. */
  hold(from: string, to: string): void
  /** Without names: releases all. */
  release(from?: string, to?: string): void
  /** Only servers of one group reach each other; servers in no group form another. */
  partition(...groups: readonly (readonly string[])[]): void
  heal(): void
  /** As SIGKILL: its frames under way are lost, its transport goes silent, the others see the connection close. */
  crash(node: string): void
  /** Names of running servers. */
  nodes(): string[]
}

export interface MemoryTransportOptions {
  /** Default: a network of its own, without peers. */
  network?: MemoryNetwork
}

/** Deterministic transport inside one process, for tests and simulations. */
export function memoryTransport(options: MemoryTransportOptions = {}): Transport {
  return (options.network ?? memoryNetwork()).join()
}

interface Member {
  readonly self: Peer
  readonly handlers: TransportHandlers
  /** Open ways to other members, by incarnation. */
  readonly paths: Map<string, MemoryPath<Member>>
  /** Events to be told, in order. */
  readonly mailbox: (() => void)[]
  sentBytes: number
  receivedBytes: number
  alive: boolean
}

interface Fault {
  from: string
  to: string
  faults: PathFaults
}

export function memoryNetwork(options: MemoryNetworkOptions = {}): MemoryNetwork {
  const random = seededRandom(options.seed ?? 1)
  const members = new Map<string, Member>()
  const faultList: Fault[] = [{ from: '*', to: '*', faults: { latencyMs: options.latencyMs ?? 0 } }]
  const held = new Set<string>()
  /** Paths whose `up` was told: only they get a `down`. */
  const announced = new WeakSet<MemoryPath<Member>>()
  let groups: readonly ReadonlySet<string>[] = []
  let partitions = 0
  let runtime = options.runtime

  const clock = (): Runtime => {
    if (runtime === undefined) throw new SessionError('CONFIG_INVALID', 'This memory network has no runtime yet: start a server first.')
    return runtime
  }
  const pairName = (from: string, to: string): string => JSON.stringify([from, to])
  const groupOf = (node: string): number => groups.findIndex((group) => group.has(node))
  const reachable = (a: Member, b: Member): boolean => groups.length === 0 || groupOf(a.self.node) === groupOf(b.self.node)
  const isHeld = (from: string, to: string): boolean =>
    held.has(pairName(from, to)) || held.has(pairName(from, '*')) || held.has(pairName('*', to)) || held.has(pairName('*', '*'))

  function faultsOf(from: string, to: string): PathFaults {
    const matches = faultList.filter((f) => (f.from === '*' || f.from === from) && (f.to === '*' || f.to === to))
    return Object.assign({}, ...matches.map((match) => match.faults)) as PathFaults
  }

  function flush(member: Member): void {
    while (member.mailbox.length > 0) member.mailbox.shift()?.()
  }

  function tell(member: Member, event: () => void): void {
    if (member.mailbox.push(event) === 1) clock().defer(() => flush(member))
  }

  function deliver(from: Member, to: Member, frame: Buffer): void {
    flush(to)
    if (!to.alive || !to.paths.has(from.self.incarnation)) return
    to.receivedBytes += frame.length
    to.handlers.frame(from.self, frame)
  }

  function openPath(from: Member, to: Member): void {
    const path = memoryPath<Member>(to, clock(), random, (frame) => deliver(from, to, frame))
    path.configure(faultsOf(from.self.node, to.self.node))
    path.hold(isHeld(from.self.node, to.self.node))
    from.paths.set(to.self.incarnation, path)
    tell(from, () => {
      if (!from.alive || from.paths.get(to.self.incarnation) !== path) return
      announced.add(path)
      from.handlers.up(to.self)
    })
  }

  function connect(a: Member, b: Member): void {
    if (a === b || !a.alive || !b.alive || !reachable(a, b) || a.paths.has(b.self.incarnation)) return
    openPath(a, b)
    openPath(b, a)
  }

  function cut(from: Member, to: Member, why: string): void {
    const path = from.paths.get(to.self.incarnation)
    if (path === undefined) return
    path.close()
    from.paths.delete(to.self.incarnation)
    if (!from.alive) return
    tell(from, () => {
      if (from.alive && announced.has(path)) from.handlers.down(to.self, why)
    })
  }

  function disconnect(a: Member, b: Member, why: string): void {
    cut(a, b, why)
    cut(b, a, why)
  }

  function leave(member: Member, why: string): void {
    member.alive = false
    members.delete(member.self.incarnation)
    for (const path of [...member.paths.values()]) disconnect(member, path.to, why)
  }

  function reconnectAll(): void {
    const list = [...members.values()]
    for (const a of list) for (const b of list) connect(a, b)
    for (const member of list) flush(member)
  }

  function eachPath(run: (from: Member, path: MemoryPath<Member>) => void): void {
    for (const member of members.values()) for (const path of [...member.paths.values()]) run(member, path)
  }

  function holdPaths(): void {
    eachPath((from, path) => path.hold(isHeld(from.self.node, path.to.self.node) || !reachable(from, path.to)))
  }

  function enter(handlers: TransportHandlers): Member {
    runtime ??= handlers.runtime
    for (const other of [...members.values()]) {
      if (other.self.incarnation === handlers.self.incarnation) {
        throw new SessionError(
          'PEER_REFUSED',
          `A server with the incarnation of "${handlers.self.node}" is running: use a new one for each run.`,
        )
      }
      if (other.self.node === handlers.self.node) leave(other, 'superseded by a newer run')
    }
    const member: Member = { self: handlers.self, handlers, paths: new Map(), mailbox: [], sentBytes: 0, receivedBytes: 0, alive: true }
    members.set(member.self.incarnation, member)
    reconnectAll()
    return member
  }

  function refuse(member: Member, incarnation: string, why: string): void {
    const other = member.paths.get(incarnation)?.to
    if (other === undefined) return
    member.handlers.logger.warn(`holdfast PEER_PROTOCOL: refused server "${other.self.node}": ${why}`)
    disconnect(member, other, `refused: ${why}`)
    clock().setTimer(options.relinkMs ?? 100, () => connect(member, other))
  }

  function join(): Transport {
    let member: Member | undefined
    let closed = false
    return {
      name: 'memory',
      async start(handlers) {
        if (closed) throw new SessionError('SESSIONS_CLOSED', 'This transport is closed: make a new one.')
        if (member !== undefined) throw new SessionError('CONFIG_INVALID', 'This transport is started already: each server needs its own.')
        member = enter(handlers)
      },
      peers: () => (member === undefined ? [] : [...member.paths.values()].map((path) => path.to.self)),
      send(incarnation, frame) {
        checkFrameSize(frame)
        const path = member?.alive === true ? member.paths.get(incarnation) : undefined
        if (member === undefined || path === undefined || !path.send(frame)) return false
        member.sentBytes += frame.length
        return true
      },
      refuse(incarnation, why) {
        if (member?.alive === true) refuse(member, incarnation, why)
      },
      traffic: () => ({ sentBytes: member?.sentBytes ?? 0, receivedBytes: member?.receivedBytes ?? 0 }),
      async close() {
        closed = true
        if (member?.alive === true) leave(member, 'left')
      },
    }
  }

  return {
    join,
    faults(from, to, faults) {
      faultList.push({ from, to, faults })
      eachPath((member, path) => path.configure(faultsOf(member.self.node, path.to.self.node)))
    },
    hold(from, to) {
      held.add(pairName(from, to))
      holdPaths()
    },
    release(from, to) {
      if (from === undefined || to === undefined) held.clear()
      else held.delete(pairName(from, to))
      holdPaths()
    },
    partition(...lists) {
      groups = lists.map((list) => new Set(list))
      const current = ++partitions
      holdPaths()
      const separate = (): void => {
        if (current !== partitions) return
        eachPath((member, path) => {
          if (!reachable(member, path.to)) disconnect(member, path.to, 'partitioned')
        })
        reconnectAll()
      }
      if ((options.downAfterMs ?? 0) === 0) separate()
      else clock().setTimer(options.downAfterMs ?? 0, separate)
    },
    heal() {
      groups = []
      partitions++
      holdPaths()
      reconnectAll()
    },
    crash(node) {
      for (const member of [...members.values()]) if (member.self.node === node) leave(member, 'connection closed')
    },
    nodes: () => [...members.values()].map((member) => member.self.node),
  }
}
