import { SLOTS, slotOf } from '../core/slot-order.ts'

/** Maps, and buckets of slots in which servers compare what they hold. */
export const PARTS = 1_024
export const SLOTS_PER_PART: number = SLOTS / PARTS

/**
 * A map by session key in parts: one map of a million grows by copying itself in one go, which stops the event loop for longer than a
 * request should wait. Walks visit part after part, and go on while entries come and go.
 */
export interface Partitions<T> {
  readonly size: number
  get(key: string): T | undefined
  has(key: string): boolean
  set(key: string, value: T): void
  delete(key: string): boolean
  entries(): IterableIterator<[string, T]>
  values(): IterableIterator<T>
}

/** One that can be walked a part at a time. */
export interface Parted<T> extends Partitions<T> {
  valuesOf(part: number): IterableIterator<T>
}

/** `numberOf`: of what is no session key, but another text; its lowest bits choose the part. */
export function createPartitions<T>(numberOf: (key: string) => number = partOf): Parted<T> {
  const parts = Array.from({ length: PARTS }, () => new Map<string, T>())
  const at = (key: string): Map<string, T> => parts[numberOf(key) & (PARTS - 1)] as Map<string, T>
  let size = 0

  return {
    get size() {
      return size
    },
    get: (key) => at(key).get(key),
    has: (key) => at(key).has(key),
    set(key, value) {
      const part = at(key)
      const before = part.size
      part.set(key, value)
      size += part.size - before
    },
    delete(key) {
      if (!at(key).delete(key)) return false
      size--
      return true
    },
    *entries() {
      for (const part of parts) yield* part.entries()
    },
    *values() {
      for (const part of parts) yield* part.values()
    },
    valuesOf: (part) => (parts[part] as Map<string, T>).values(),
  }
}

/** Of a session key. */
export function partOf(key: string): number {
  return Math.floor(slotOf(key) / SLOTS_PER_PART)
}
