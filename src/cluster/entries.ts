import type { Heads } from '../core/floor.ts'
import { covers } from '../core/floor.ts'
import { rendezvousSeed } from '../core/slot-order.ts'
import { createDigests, type Digests } from './digests.ts'
import { createEntryMaker, type Entry } from './entry.ts'
import type { TombstoneReason } from './message-codes.ts'
import { createOrigins } from './origins.ts'
import { createPartitions, type Partitions } from './partitions.ts'
import type { ClusterRecord } from './record.ts'

export type { Entry } from './entry.ts'

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
  /** UTF-8 bytes of the names and values of all copies. */
  readonly bytes: number
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
  /** Those of one part of the slots (`partOf`). */
  allOf(part: number): IterableIterator<Entry>
  readonly digests: Digests
  tombstones(): IterableIterator<[string, Tombstone]>
  keysOfUser(userId: string): Iterable<string>
  /** The highest counter of any copy dropped here: counters go on above it, so that no dot is used twice. */
  readonly highestDropped: number
  /** Calls back after each change of this key until cancelled. */
  watch(key: string, changed: () => void): () => void
}

/** `isEverywhere`: all servers hold all sessions. */
export function createEntries(
  incarnation: string,
  tombstones: Partitions<Tombstone> = createPartitions<Tombstone>(),
  isEverywhere: boolean = false,
): Entries {
  const origins = createOrigins(incarnation)
  const makeEntry = createEntryMaker(isEverywhere)
  const entries = createPartitions<Entry>()
  /** Most users have one session. */
  const users = createPartitions<string | Set<string>>(rendezvousSeed)
  const digests = createDigests()
  const watchers = new Map<string, Set<() => void>>()
  let highestDropped = 0
  let bytes = 0

  function notify(key: string): void {
    const list = watchers.get(key)
    if (list !== undefined) for (const changed of [...list]) changed()
  }

  function index({ key, meta: { userId } }: ClusterRecord): void {
    if (userId === undefined) return
    const keys = users.get(userId)
    if (keys === undefined) users.set(userId, key)
    else if (typeof keys === 'string') users.set(userId, new Set([keys, key]))
    else keys.add(key)
  }

  function unindex({ key, meta: { userId } }: ClusterRecord): void {
    const keys = userId === undefined ? undefined : users.get(userId)
    if (userId === undefined || keys === undefined) return
    if (typeof keys !== 'string') keys.delete(key)
    if (keys === key || (typeof keys !== 'string' && keys.size === 0)) users.delete(userId)
  }

  function drop(key: string): void {
    const entry = entries.get(key)
    if (entry === undefined) return
    entries.delete(key)
    const record = entry.peek()
    bytes -= record.bytes
    digests.changed(key, record.heads, undefined)
    highestDropped = Math.max(highestDropped, record.highest)
    origins.dropped(key, entry.origin, record.coverage)
    unindex(record)
  }

  return {
    get size() {
      return entries.size
    },
    get bytes() {
      return bytes
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
      bytes += record.bytes
      if (entry === undefined) {
        entry = makeEntry(record, origins.of(record.key, record.coverage))
        entries.set(record.key, entry)
        index(record)
        digests.changed(record.key, undefined, record.heads)
      } else {
        const before = entry.record
        bytes -= before.bytes
        digests.changed(record.key, before.heads, record.heads)
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
    allOf: (part) => entries.valuesOf(part),
    digests,
    tombstones: () => tombstones.entries(),
    keysOfUser(userId) {
      const keys = users.get(userId) ?? []
      return typeof keys === 'string' ? [keys] : keys
    },
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
