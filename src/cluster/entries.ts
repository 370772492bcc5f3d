import type { Heads } from '../core/floor.ts'
import { covers } from '../core/floor.ts'
import type { Dot } from '../core/merge.ts'
import type { FloorNote } from './floor-note.ts'
import type { Home } from './placement.ts'
import type { TombstoneReason } from './message-codes.ts'
import { createOrigins } from './origins.ts'
import type { ClusterRecord } from './record.ts'

/** A copy held here, and what this server knows about who else holds it. */
export interface Entry {
  record: ClusterRecord
  /** The origin of this server's writes to it. */
  readonly origin: string
  /** Incarnation of the owner (affinity); '' where nobody has claimed it. */
  owner: string
  /** The write that claimed it: the later claim wins. */
  claim: Dot | undefined
  /** Where the present copy was sent last; undefined: nowhere yet. */
  placed: Home | undefined
  /** The note last written or checked, so that the common request decodes none. */
  note: { readonly name: string; readonly value: string; readonly content: FloorNote } | undefined
}

export interface Tombstone {
  readonly reason: TombstoneReason
  /** Unix ms, by the clock of this server. */
  readonly endedAt: number
  /** Unix ms. */
  readonly until: number
}

/** All copies and tombstones of this server. */
export interface Entries {
  readonly size: number
  readonly tombstoneCount: number
  get(key: string): Entry | undefined
  /** Makes an entry, or replaces the record of the one there is. */
  put(record: ClusterRecord): Entry
  /** Forgets a copy without a trace, but for the counters it used. */
  drop(key: string): void
  tombstone(key: string): Tombstone | undefined
  /** True when it is news. */
  bury(key: string, tombstone: Tombstone): boolean
  unbury(key: string): void
  all(): IterableIterator<Entry>
  tombstones(): IterableIterator<[string, Tombstone]>
  keysOfUser(userId: string): Iterable<string>
  /** The highest counter of any copy dropped here: counters go on above it, so that no dot is used twice. */
  readonly highestDropped: number
  /** Calls back after each change of this key until cancelled. */
  watch(key: string, changed: () => void): () => void
}

export function createEntries(incarnation: string): Entries {
  const origins = createOrigins(incarnation)
  const entries = new Map<string, Entry>()
  const tombstones = new Map<string, Tombstone>()
  const users = new Map<string, Set<string>>()
  const watchers = new Map<string, Set<() => void>>()
  let highestDropped = 0

  function notify(key: string): void {
    const list = watchers.get(key)
    if (list !== undefined) for (const changed of [...list]) changed()
  }

  function index(record: ClusterRecord): void {
    const { userId } = record.meta
    if (userId === undefined) return
    const keys = users.get(userId)
    if (keys === undefined) users.set(userId, new Set([record.key]))
    else keys.add(record.key)
  }

  function drop(key: string): void {
    const entry = entries.get(key)
    if (entry === undefined) return
    entries.delete(key)
    highestDropped = Math.max(highestDropped, entry.record.highest)
    origins.dropped(key, entry.origin, entry.record.coverage)
    const { userId } = entry.record.meta
    const keys = userId === undefined ? undefined : users.get(userId)
    keys?.delete(key)
    if (userId !== undefined && keys?.size === 0) users.delete(userId)
  }

  return {
    get size() {
      return entries.size
    },
    get tombstoneCount() {
      return tombstones.size
    },
    get highestDropped() {
      return highestDropped
    },
    get: (key) => entries.get(key),
    put(record) {
      let entry = entries.get(record.key)
      if (entry === undefined) {
        entry = { record, origin: origins.of(record.key, record.coverage), owner: '', claim: undefined, placed: undefined, note: undefined }
        entries.set(record.key, entry)
        index(record)
      } else {
        entry.record = record
      }
      if (watchers.size > 0) notify(record.key)
      return entry
    },
    drop,
    tombstone: (key) => tombstones.get(key),
    bury(key, tombstone) {
      if (tombstones.has(key)) return false
      tombstones.set(key, tombstone)
      drop(key)
      notify(key)
      return true
    },
    unbury: (key) => void tombstones.delete(key),
    all: () => entries.values(),
    tombstones: () => tombstones.entries(),
    keysOfUser: (userId) => users.get(userId) ?? [],
    watch(key, changed) {
      const list = watchers.get(key) ?? new Set()
      watchers.set(key, list.add(changed))
      return () => {
        list.delete(changed)
        if (list.size === 0 && watchers.get(key) === list) watchers.delete(key)
      }
    },
  }
}

export function entryCovers(entry: Entry | undefined, floor: Heads): boolean {
  return entry !== undefined && covers(entry.record.coverage, floor)
}
