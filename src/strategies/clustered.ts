import { goneError, type TableOptions, unavailable } from '../cluster/core.ts'
import type { Entry, Tombstone } from '../cluster/entries.ts'
import { type FloorNote, NO_NOTE } from '../cluster/floor-note.ts'
import { type ClusterRecord, endOf } from '../cluster/record.ts'
import { createTable, type Table } from '../cluster/table.ts'
import { covers, type Heads } from '../core/floor.ts'
import { verifyNote } from '../core/note.ts'
import type { RouteFormat } from '../core/slot-order.ts'
import { SessionError } from '../errors.ts'
import type {
  Change,
  Draft,
  DraftOf,
  Jar,
  JarDelta,
  MaybePromise,
  Opened,
  Opening,
  RecordView,
  RunningStrategy,
  SessionId,
  StrategyContext,
  Written,
} from '../seam.ts'
import type { SessionSummary } from '../types.ts'
import { ClusterOpened, clusteredNotes } from './clustered-notes.ts'

export interface ClusteredOptions extends TableOptions {
  readonly name: 'replication' | 'affinity'
  /** Undefined: fail when a user is bound, serve otherwise. */
  readonly onRegression: 'serve' | 'fail' | undefined
  readonly notProtected: readonly string[]
  /** Affinity: the route cookie's value. Default: the labels of the hint. */
  readonly route?: RouteFormat
}

const GONE_UNKNOWN: Opening = { outcome: 'gone', reason: 'unknown' }
const GONE_EXPIRED: Opening = { outcome: 'gone', reason: 'expired' }
const ANY_NOTE = (): boolean => true

/** What `replication` and `affinity` share: floors in notes, the table below, the outcomes of opening. */
export function runClustered(options: ClusteredOptions, context: StrategyContext): RunningStrategy {
  const { keys } = context
  const table: Table = createTable(options, context)
  const routes = options.policy.kind === 'owner'
  const { cluster } = options.transport
  const notesOf = clusteredNotes({ name: options.name, cluster, routes, route: options.route }, context, table)
  const { readAll, written } = notesOf

  // ------------------------------------------------------------------ opening

  function found(entry: Entry, jar: Jar, known: FloorNote, isRegressed = false): ClusterOpened {
    return new ClusterOpened(entry.record, jar, jar.notes, known, isRegressed)
  }

  function open(jar: Jar): MaybePromise<Opening> {
    return table.isInContact() ? openInContact(jar) : openOutOfContact(jar)
  }

  /** This server was paused or is cut off: sessions may have ended meanwhile, and it has not heard of it. */
  async function openOutOfContact(jar: Jar): Promise<Opening> {
    await regainContact()
    return openInContact(jar)
  }

  async function regainContact(): Promise<void> {
    if (!(await table.regainContact()) && options.whenCutOff === 'fail') {
      throw unavailable('This server is cut off from the majority of the servers.')
    }
  }

  function openInContact(jar: Jar): MaybePromise<Opening> {
    const entry = table.find(jar.key)
    if (entry !== undefined && endOf(entry.record) > table.now()) {
      // A floor that the copy covers changes nothing: its MACs need no check.
      const known = jar.notes.length === 0 ? NO_NOTE : readAll(jar.notes, entry, ANY_NOTE)
      if (covers(entry.record.coverage, known.floor)) return { outcome: 'found', opened: found(entry, jar, known) }
    }
    const ended = table.ended(jar.key)
    if (ended !== undefined) return goneOpening(ended)
    return openSlowly(jar)
  }

  async function openSlowly(jar: Jar): Promise<Opening> {
    const now = table.now()
    if (jar.absoluteAt <= now) return GONE_EXPIRED
    const known = readAll(jar.notes, undefined, (note) => verifyNote(keys, jar.id, note) === 'valid')
    const entry = table.find(jar.key)
    const isCovered = entry !== undefined && covers(entry.record.coverage, known.floor)
    const looksExpired = isCovered && endOf(entry.record) <= now
    if (isCovered && !looksExpired) return { outcome: 'found', opened: found(entry, jar, known) }
    if (looksExpired && (entry.record.meta.absoluteAt <= now || !table.hasOthers())) return GONE_EXPIRED
    let result = await table.search({ key: jar.key, floor: known.floor, hint: known.hint, askAll: looksExpired })
    // One server's answer may be old: others may know of a later request.
    if (result.outcome === 'covered' && !looksExpired && endOf(result.entry.record) <= table.now() && table.hasOthers()) {
      result = await table.search({ key: jar.key, floor: known.floor, hint: known.hint, askAll: true })
    }
    if (result.outcome === 'ended') return goneOpening(result.tombstone)
    if (result.outcome === 'missing') return missing(jar, known, result.entry)
    if (endOf(result.entry.record) <= table.now()) return GONE_EXPIRED
    return { outcome: 'found', opened: found(result.entry, jar, known) }
  }

  /** Every server answered, and none has what the jar names. */
  function missing(jar: Jar, known: FloorNote, entry: Entry | undefined): Opening {
    const now = table.now()
    if (known.floor.length === 0) return GONE_UNKNOWN
    const endsAt = entry === undefined ? known.idleEndAt : Math.max(known.idleEndAt, endOf(entry.record))
    if (endsAt <= now) return GONE_EXPIRED
    const policy = options.onRegression ?? 'byUser'
    return entry === undefined ? { outcome: 'regressed', policy } : { outcome: 'regressed', opened: found(entry, jar, known, true), policy }
  }

  // ------------------------------------------------------------------ writing

  /** The entry to write to. The copy may have been dropped since the request opened it: moved, or swept. */
  function current(opened: ClusterOpened): MaybePromise<Entry> {
    const { key } = opened.id
    const entry = table.find(key)
    if (entry !== undefined) return entry
    const ended = table.ended(key)
    if (ended !== undefined) throw goneError(ended.reason)
    return table.search({ key, floor: opened.record.heads, hint: opened.known.hint }).then((result) => {
      if (result.outcome === 'covered') return result.entry
      if (result.outcome === 'ended') throw goneError(result.tombstone.reason)
      if (result.entry === undefined) throw goneError('unknown')
      throw unavailable('The newest copy of the session cannot be found; nothing was stored.')
    })
  }

  function withEntry<T>(opened: Opened, run: (entry: Entry, opened: ClusterOpened) => MaybePromise<T>): MaybePromise<T> {
    // Contact may have been lost since the request opened the session, and the session have ended where this server did not hear of it.
    if (!table.isInContact()) return regainContact().then(() => withCurrent(opened, run))
    return withCurrent(opened, run)
  }

  function withCurrent<T>(opened: Opened, run: (entry: Entry, opened: ClusterOpened) => MaybePromise<T>): MaybePromise<T> {
    try {
      const entry = current(opened as ClusterOpened)
      const go = (known: Entry): MaybePromise<T> => {
        const asking = table.learnOwner(known)
        return asking === undefined ? run(known, opened as ClusterOpened) : asking.then(() => run(known, opened as ClusterOpened))
      }
      return entry instanceof Promise ? entry.then(go) : go(entry)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  const after = <A, B>(value: MaybePromise<A>, run: (value: A) => B): MaybePromise<B> =>
    value instanceof Promise ? value.then((late) => run(late)) : run(value)

  function create(id: SessionId, draft: Draft): MaybePromise<Written> {
    try {
      return after(table.create(id.key, draft), (entry) => written(entry, id, undefined))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  function replace(opened: Opened, id: SessionId, draft: DraftOf): MaybePromise<Written> {
    return withEntry(opened, async (old, before) => written(await table.replace(old, id.key, draft), id, before))
  }

  // ------------------------------------------------------------------ after reading

  function knowsHeads(floor: Heads, record: ClusterRecord): boolean {
    return record.heads.every((head) => floor.some((dot) => dot.origin === head.origin && dot.counter >= head.counter))
  }

  /** The hint leads elsewhere although the session lives here, or here although it lives elsewhere: one of these two servers knows for sure. */
  function isMisled(entry: Entry, hint: readonly string[]): boolean {
    if (!routes || hint.length === 0) return false
    if (entry.owner === table.incarnation) return hint[0] !== table.label
    return hint[0] === table.label && table.hint(entry)[0] !== table.label
  }

  function settle(any: Opened, decoded: boolean): JarDelta | undefined {
    const opened = any as ClusterOpened
    const { known, notes, record } = opened
    const join = notes.length > 1 && notesOf.replaced(opened, undefined).length > 1
    const raise = opened.isRegressed || (decoded && !knowsHeads(known.floor, record))
    const entry = routes || join || raise ? table.find(record.key) : undefined
    const rebound = entry !== undefined && isMisled(entry, known.hint)
    if (!join && !raise && !rebound) return undefined
    return notesOf.renewed(opened, entry)
  }

  // ------------------------------------------------------------------ beyond one request

  async function lookUp(key: string): Promise<ClusterRecord | undefined> {
    const entry = table.find(key)
    const isLive = (record: ClusterRecord): boolean => endOf(record) > table.now()
    if (entry !== undefined && isLive(entry.record)) return entry.record
    if (table.ended(key) !== undefined || !table.hasOthers()) return undefined
    const result = await table.search({ key, floor: [], hint: [], askAll: entry !== undefined })
    return result.outcome === 'covered' && isLive(result.entry.record) ? result.entry.record : undefined
  }

  async function revoke(key: string, filter: { userId?: string }): Promise<boolean> {
    const record = await lookUp(key)
    if (record === undefined || (filter.userId !== undefined && filter.userId !== record.meta.userId)) return false
    await table.end(key, 'revoked', record.meta.absoluteAt)
    return true
  }

  return {
    open,
    create,
    write: (opened, change: Change) =>
      withEntry(opened, (entry, before) => after(table.write(entry, change), (done) => written(done, before.id, before))),
    replace,
    destroy: (any) => {
      const opened = any as ClusterOpened
      const replaced = notesOf.replaced(opened, undefined)
      return after(table.end(opened.id.key, 'destroyed', opened.record.meta.absoluteAt), () => ({ set: [], delete: replaced }))
    },
    settle,
    update: (opened, change: (record: RecordView) => Change) =>
      withEntry(opened, async (_, before) => written(await table.update(before.id.key, change), before.id, before)),
    reload: (any) => {
      const { id, notes } = any as ClusterOpened
      return open({ id: id.id, key: id.key, absoluteAt: id.absoluteAt, notes, headerBytes: 0 })
    },
    get: lookUp,
    async *list({ userId }): AsyncGenerator<SessionSummary> {
      yield* (await table.list(userId)).values()
    },
    revoke,
    async revokeUser(userId, { except }) {
      const sessions = [...(await table.list(userId)).values()].filter((summary) => summary.key !== except)
      await Promise.all(sessions.map(async ({ key }) => table.end(key, 'revoked', await absoluteEnd(key))))
      return sessions.length
    },
    status: () => ({ ...table.status(), notProtected: [...options.notProtected] }),
    ready: () => table.ready(),
    drain: () => table.drain(),
    close: () => table.close(),
  }

  /** Known here, or after a fetch. */
  async function absoluteEnd(key: string): Promise<number> {
    const record = table.find(key)?.record ?? (await lookUp(key))
    return record?.meta.absoluteAt ?? table.now()
  }
}

function goneOpening({ endedAt, reason }: Tombstone): Opening {
  return { outcome: 'gone', reason: reason === 'replaced' ? 'replaced' : 'destroyed', endedAt }
}

export function refuseOptions(problems: readonly string[]): void {
  if (problems.length > 0) throw new SessionError('CONFIG_INVALID', problems.join(' '))
}

/** A session travels in one frame of at most 1 MiB, its bookkeeping included. */
const MOST_SESSION_BYTES = 512 * 1024

export function sessionBytesProblem(sessionBytes: number): string[] {
  if (sessionBytes <= MOST_SESSION_BYTES) return []
  return [
    `\`limits.sessionBytes\` may be at most ${MOST_SESSION_BYTES} where servers share sessions in memory: keep larger data in a store.`,
  ]
}
