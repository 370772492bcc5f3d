/**
 * Faults of the implementation, put in from outside, that the checker has to catch: frames that are altered on their way, a
 * strategy that is wrapped, randomness that repeats. `plan` is the kind of run in which each shows.
 */
import type { Mutation } from './mutation.ts'
import { ackBeforeApply, destroyingExpiry, droppedTombstone, foreignAck } from './mutations-on-the-wire.ts'
import { overwrittenFloor, reusedIncarnation, scalarFloor, wallClockStamps } from './mutations-wrapped.ts'

export const MUTATIONS: readonly Mutation[] = [
  scalarFloor,
  overwrittenFloor,
  reusedIncarnation,
  ackBeforeApply,
  foreignAck,
  droppedTombstone,
  destroyingExpiry,
  wallClockStamps,
]
