import { covers } from '../core/floor.ts'
import { compareDots } from '../core/merge.ts'
import { SessionError } from '../errors.ts'
import type { Change, Draft, MaybePromise, Peer, RecordView, StrategyContext } from '../seam.ts'
import type { SessionSummary, SessionsStatus } from '../types.ts'
import { catchUp, type Found, type Search } from './catch-up.ts'
import { createComparing } from './compare.ts'
import { type Core, createCore, DEADLINE_MS, type TableOptions, tombstoneMessage } from './core.ts'
import { createDelivery } from './delivery.ts'
import { createEndings } from './endings.ts'
import type { Entry, Tombstone } from './entries.ts'
import { createHandover } from './handover.ts'
import { join } from './joining.ts'
import { createListing } from './listing.ts'
import type { ServerState, TombstoneReason } from './message-codes.ts'
import { decodeFrame, type Message } from './messages.ts'
import { startSweep } from './sweep.ts'
import { createRepair } from './repair.ts'
import { createTransfer } from './transfer.ts'
import { createWrites } from './writes.ts'

/** The replicated table of sessions as one server sees it: the engine of `replication` and `affinity`. */
export interface Table {
  /** Own incarnation and label. */
  readonly incarnation: string
  readonly label: string
  find(key: string): Entry | undefined
  ended(key: string): Tombstone | undefined
  /** True while there is anybody else to ask. */
  hasOthers(): boolean
  search(search: Search): Promise<Found>
  create(key: string, draft: Draft): MaybePromise<Entry>
  write(entry: Entry, change: Change): MaybePromise<Entry>
  update(key: string, change: (record: RecordView) => Change): Promise<Entry>
  end(key: string, reason: TombstoneReason, absoluteAt: number): MaybePromise<void>
  /** A majority has answered within the lease: no ending passes this server by. */
  isInContact(): boolean
  /** Tries to find a majority again, for a bounded time. */
  regainContact(): Promise<boolean>
  /** Labels of who should be asked for the session from now on, this server's or its owner's first. */
  hint(entry: Entry): readonly string[]
  list(userId: string | undefined): Promise<ReadonlyMap<string, SessionSummary>>
  status(): Pick<SessionsStatus, 'sessions' | 'bytes' | 'peers' | 'details'>
  ready(): Promise<void>
  drain(): Promise<void>
  close(): Promise<void>
}

const INCARNATION = /^[\w-]{8}$/
const LEAVE_MS = 5_000

export function createTable(options: TableOptions, context: StrategyContext): Table {
  const core = createCore(options, context)
  const { acks, contact, entries, members, outbox, requests } = core
  const delivery = createDelivery(core)
  const writes = createWrites(core)
  const endings = createEndings(core, delivery)
  const transfer = createTransfer(core)
  const handover = createHandover(core, writes)
  const listing = createListing(core)
  const comparing = createComparing(core, writes)
  const repair = createRepair(core)
  outbox.onDropped(repair.missed)
  const stopSweep = startSweep(core)
  let closed = false
  let joined = false
  let drained: Promise<void> | undefined

  const HANDLE: { [K in Message['kind']]: (from: string, message: Extract<Message, { kind: K }>) => void } = {
    delta: delivery.delta,
    record(from, message) {
      delivery.record(from, message)
      if (message.claim === 'receiver') handover.review()
    },
    tombstone: delivery.tombstone,
    touch: (_, message) => delivery.touch(message),
    ack(from, { sequences }) {
      for (const sequence of sequences) acks.acked(from, sequence)
    },
    fetch: serveFetch,
    'not-held': (from, { request }) => requests.answered(from, request, 'not-held'),
    state: stateChanged,
    list: listing.serve,
    'list-part': listing.part,
    snapshot: transfer.serve,
    'snapshot-part': transfer.part,
    'snapshot-next': (from, { request }) => transfer.next(from, request),
    moved,
    compare: comparing.serve,
    compared: (from, { outcome, request }) => requests.answered(from, request, outcome),
    ping: (from, { number }) => core.post(from, { kind: 'pong', number, members: members.fingerprint() }),
    pong: contact.pong,
    relay: endings.relay,
    digest: repair.digest,
    differ: repair.differ,
  }

  function serveFetch(from: string, { key, request }: { key: string; request: number }): void {
    const tombstone = entries.tombstone(key)
    const entry = entries.get(key)
    if (tombstone !== undefined) core.post(from, tombstoneMessage(core, key, tombstone, { request }))
    else if (entry === undefined) core.post(from, { kind: 'not-held', request })
    else core.post(from, { kind: 'record', sequence: 0, request, claim: core.owns(entry) ? 'sender' : 'none', record: entry.record })
  }

  function moved(from: string, { claim, coverage, key }: Extract<Message, { kind: 'moved' }>): void {
    const entry = entries.get(key)
    if (entry === undefined) return
    // Claims are ordered: of servers that claim at once, the last one's copies stay.
    if (entry.claim !== undefined && compareDots(claim, entry.claim) <= 0) return
    // Dropped only where the new holders have all that is here; else they are told what they lack.
    if (covers(coverage, entry.record.heads)) entries.drop(key)
    else core.post(from, { kind: 'record', sequence: 0, request: 0, claim: 'none', record: entry.record })
  }

  function stateChanged(from: string, { sessions, state }: { sessions: number; state: ServerState }): void {
    const member = members.get(from)
    if (member === undefined) return
    const isFirst = member.state === undefined
    members.setState(member, state, sessions)
    // Who joins itself pulls what it needs before it is ready.
    if (isFirst && joined) void takeOver(from, state !== 'joining' || sessions > 0)
    changed()
  }

  /** A link that comes back, or servers that started apart: each takes over what it has missed. */
  async function takeOver(from: string, hasSomething: boolean): Promise<void> {
    let isDone = !hasSomething
    while (!isDone && members.get(from) !== undefined && !closed) {
      isDone = await transfer.pull(from, 0, options.policy.kind === 'owner' ? 0 : 1)
    }
    if (isDone) contact.pulled(from)
  }

  function changed(): void {
    writes.reviewHealth()
    handover.review()
  }

  function tellState(to: readonly { incarnation: string }[]): void {
    for (const { incarnation } of to) {
      core.post(incarnation, { kind: 'state', state: members.self.state as ServerState, sessions: entries.size })
    }
  }

  function setOwnState(state: ServerState): void {
    members.setState(members.self, state, entries.size)
    tellState(members.others())
  }

  function up(peer: Peer): void {
    if (!INCARNATION.test(peer.incarnation)) return options.transport.refuse(peer.incarnation, 'its incarnation is not one of ours')
    contact.up(members.up(peer))
    tellState([peer])
    changed()
  }

  function down(peer: Peer): void {
    members.down(peer)
    contact.down(peer.incarnation)
    requests.down(peer.incarnation)
    transfer.down(peer.incarnation)
    listing.down(peer.incarnation)
    try {
      acks.down(peer.incarnation)
    } finally {
      changed()
    }
  }

  function frame(peer: Peer, bytes: Buffer): void {
    if (members.get(peer.incarnation) === undefined) return
    try {
      for (const message of decodeFrame(bytes)) {
        ;(HANDLE[message.kind] as (from: string, message: Message) => void)(peer.incarnation, message)
      }
    } catch (error) {
      options.transport.refuse(peer.incarnation, SessionError.is(error) ? error.message : 'a message could not be handled')
    }
  }

  async function start(): Promise<void> {
    await options.transport.start({ self: members.self.peer, runtime: context.runtime, logger: context.logger, frame, up, down })
    const pulled = await join(core, transfer)
    joined = true
    for (const { incarnation, sessions, state } of members.others()) {
      if (pulled.has(incarnation)) contact.pulled(incarnation)
      else if (state !== undefined) void takeOver(incarnation, state !== 'joining' || sessions > 0)
    }
    // Ready means that what is held may be served.
    await contact.regain()
    if (members.self.state === 'joining') setOwnState('ready')
  }
  const started = start()
  // Whoever waits for `ready()` sees it; nobody has to.
  started.catch(() => undefined)

  /** Everything queued has been sent and confirmed, or the deadline has passed. */
  async function flush(): Promise<void> {
    outbox.flush()
    await withDeadline(core, acks.idle(), DEADLINE_MS)
    outbox.flush()
  }

  function drain(): Promise<void> {
    drained ??= (async () => {
      setOwnState('draining')
      await withDeadline(core, handover.leave(), LEAVE_MS)
      await flush()
    })()
    return drained
  }

  return {
    incarnation: core.self,
    label: members.self.label,
    find: (key) => entries.get(key),
    ended: (key) => entries.tombstone(key),
    hasOthers: () => members.others().length > 0 || members.recentlyLost(),
    search: (search) => catchUp(core, search),
    create: writes.create,
    write: writes.write,
    update: comparing.update,
    end: endings.end,
    isInContact: contact.isFresh,
    regainContact: contact.regain,
    hint: (entry) => hintOf(core, entry),
    list: (userId) => listing.everywhere(userId),
    status: () => statusOf(core),
    ready: () => started,
    drain,
    async close() {
      if (closed) return
      closed = true
      await drain()
      setOwnState('leaving')
      outbox.flush()
      stopSweep()
      contact.stop()
      repair.stop()
      await options.transport.close()
    },
  }
}

function hintOf(core: Core, entry: Entry): readonly string[] {
  const { members, options, placement } = core
  if (options.policy.kind !== 'owner') return [members.self.label]
  const owner = members.get(entry.owner) ?? members.self
  const backups = placement.preference(entry.record.key).filter((member) => member !== owner)
  return [owner, ...backups.slice(0, options.policy.backups)].map((member) => member.label)
}

function statusOf(core: Core): Pick<SessionsStatus, 'sessions' | 'bytes' | 'peers' | 'details'> {
  const { entries, members, options } = core
  let bytes = 0
  for (const { record } of entries.all()) bytes += record.bytes
  const peers = members.others().map(({ peer, state }) => ({
    node: peer.node,
    state: state === 'joining' || state === undefined ? ('joining' as const) : state === 'leaving' ? ('down' as const) : ('up' as const),
  }))
  const { receivedBytes, sentBytes } = options.transport.traffic()
  return {
    sessions: entries.size,
    bytes,
    peers,
    details: {
      route: members.self.label,
      state: members.self.state as ServerState,
      sentBytes,
      receivedBytes,
      tombstones: entries.tombstoneCount,
      inContact: core.contact.isFresh(),
    },
  }
}

function withDeadline(core: Core, work: Promise<unknown>, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = core.context.runtime.setTimer(ms, resolve)
    const finish = (): void => {
      timer.cancel()
      resolve()
    }
    work.then(finish, finish)
  })
}
