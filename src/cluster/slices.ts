import type { Runtime } from '../seam.ts'

/** A walk over all sessions holds up requests for no longer than this at a time. */
const SLICE_MS = 5
/** Looking at the clock costs more than looking at a session. */
const LOOK_EVERY = 64

/** A walk over a collection in slices of time, and of `most` items. */
export interface Slices<T> {
  /** Goes on where it stopped. True: the end was reached, and the next call begins anew. `isEnough`: ends it sooner. */
  next(see: (item: T) => void, isEnough?: () => boolean): boolean
}

export function createSlices<T>(runtime: Runtime, walk: () => Iterator<T>, most: number): Slices<T> {
  let items: Iterator<T> | undefined

  return {
    next(see, isEnough) {
      items ??= walk()
      const endsAt = runtime.monotonic() + SLICE_MS
      for (let left = most; left > 0; left--) {
        const { done, value } = items.next()
        if (done === true) {
          items = undefined
          return true
        }
        see(value as T)
        if (isEnough?.() === true || (left % LOOK_EVERY === 0 && runtime.monotonic() > endsAt)) return false
      }
      return false
    },
  }
}
