import { SessionError } from '../errors.ts'
import type { Change, Draft, MaybePromise, Peer, RecordView, StrategyContext } from '../seam.ts'
import type { SessionSummary } from '../types.ts'
import { catchUp, type Found, learnOwner, type Search } from './catch-up.ts'
import { createComparing } from './compare.ts'
import { type Core, createCore, DEADLINE_MS, stateMessage, type TableOptions, tombstoneMessage } from './core.ts'
import { createDelivery } from './delivery.ts'
import { createEndings } from './endings.ts'
import type { Entry, Tombstone } from './entries.ts'
import { createHandover } from './handover.ts'
import { join } from './joining.ts'
import { createListing } from './listing.ts'
import type { ServerState, TombstoneReason } from './message-codes.ts'
import { decodeFrame, encodeMessage, type Message, type MessageOf } from './messages.ts'
import { createOwnership } from './ownership.ts'
import { createReplace, type Replace } from './replacing.ts'
import { startSweep } from './sweep.ts'
import { createRepair } from './repair.ts'
import { hintOf, statusOf, type TableStatus } from './table-status.ts'
import { createTransfer } from './transfer.ts'
import { createWrites } from './writes.ts'

/** The replicated table of sessions as one server sees it: the engine of `replication` and `affinity`. */
export interface Table {
  /** Own incarnation and label. */
  readonly incarnation: string
  readonly label: string
  /** Unix ms, as the servers agree: what lifetimes go by. */
  now(): number
  find(key: string): Entry | undefined
  ended(key: string): Tombstone | undefined
  /** True while there is anybody else to ask. */
  hasOthers(): boolean
  search(search: Search): Promise<Found>
  /** Before a write to a copy whose owner is not known (affinity). */
  learnOwner(entry: Entry): Promise<void> | undefined
  create(key: string, draft: Draft): MaybePromise<Entry>
  write(entry: Entry, change: Change): MaybePromise<Entry>
  update(key: string, change: (record: RecordView) => Change): Promise<Entry>
  /** Goes on under a new key: the old one ends. */
  replace: Replace
  end(key: string, reason: TombstoneReason, absoluteAt: number): MaybePromise<void>
  /** A majority has answered within the lease: no ending passes this server by. */
  isInContact(): boolean
  /** Tries to find a majority again, for a bounded time. */
  regainContact(): Promise<boolean>
  /** Labels of who should be asked for the session from now on, this server's or its owner's first. */
  hint(entry: Entry): readonly string[]
  /** Names of the servers that these labels stand for; unknown ones are left out. */
  nodes(labels: readonly string[]): readonly string[]
  list(userId: string | undefined): Promise<ReadonlyMap<string, SessionSummary>>
  status(): TableStatus
  ready(): Promise<void>
  drain(): Promise<void>
  close(): Promise<void>
}

const INCARNATION = /^[\w-]{8}$/
const LEAVE_MS = 5_000

export function createTable(options: TableOptions, context: StrategyContext): Table {
  const core = createCore(options, context)
  const { acks, clock, contact, entries, members, outbox, requests } = core
  const ownership = createOwnership(core)
  const delivery = createDelivery(core, ownership)
  const writes = createWrites(core)
  const endings = createEndings(core, delivery)
  const transfer = createTransfer(core)
  const handover = createHandover(core, writes)
  const listing = createListing(core)
  const comparing = createComparing(core, writes)
  const repair = createRepair(core)
  outbox.onDropped((incarnation) => {
    endings.missed(incarnation)
    repair.missed(incarnation)
  })
  const stopSweep = startSweep(core)
  let closed = false
  let joined = false
  let drained: Promise<void> | undefined

  const HANDLE: { [K in Message['kind']]: (from: string, message: MessageOf<K>) => void } = {
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
    moved: ownership.moved,
    compare: comparing.serve,
    compared: (from, { outcome, request }) => requests.answered(from, request, outcome),
    ping: (from, { number }) => core.post(from, { kind: 'pong', number, members: members.fingerprint(), ...clock.reading() }),
    pong(from, message) {
      const askedAt = contact.askedAt(message.number)
      if (askedAt !== undefined) clock.heard(from, askedAt, message)
      contact.pong(from, message)
    },
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

  function stateChanged(from: string, { lost, sessions, state }: MessageOf<'state'>): void {
    const member = members.get(from)
    if (member === undefined) return
    members.heard(lost)
    const isFirst = member.state === undefined
    members.setState(member, state, sessions)
    // Who joins itself pulls what it needs before it is ready.
    // Where a pull does not bring all sessions, comparing finds what was written apart.
    if (isFirst && joined && options.policy.kind !== 'all') repair.missed(from)
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
    const message = encodeMessage(stateMessage(core))
    for (const { incarnation } of to) outbox.post(incarnation, message)
  }

  function setOwnState(state: ServerState): void {
    members.setState(members.self, state, entries.size)
    tellState(members.others())
  }

  function up(peer: Peer): void {
    if (!INCARNATION.test(peer.incarnation)) return options.transport.refuse(peer.incarnation, 'its incarnation is not one of ours')
    clock.up(peer.incarnation)
    contact.up(members.up(peer))
    tellState([peer])
    changed()
  }

  function down(peer: Peer): void {
    members.down(peer)
    // What it had on the way to others died with it: those that have it tell.
    for (const { incarnation } of members.others()) repair.missed(incarnation)
    clock.down(peer.incarnation)
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
    now: clock.now,
    find: (key) => entries.get(key),
    ended: (key) => entries.tombstone(key),
    hasOthers: () => members.others().length > 0 || members.recentlyLost(),
    search: (search) => catchUp(core, search),
    learnOwner: (entry) => learnOwner(core, entry),
    create: writes.create,
    write: writes.write,
    update: comparing.update,
    replace: createReplace(core, delivery, endings, writes),
    end: (key, reason, absoluteAt) => endings.end(key, reason, absoluteAt),
    isInContact: contact.isFresh,
    regainContact: contact.regain,
    hint: (entry) => hintOf(core, entry),
    nodes: (labels) => labels.flatMap((label) => members.byLabel(label)?.peer.node ?? []),
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
