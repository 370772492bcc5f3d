/** What the rooms of the dedicated strategy share. */
import type { SessionStore, StrategyContext } from '../seam.ts'
import type { DedicatedNotes } from './dedicated-notes.ts'
import type { NearCache, NearCacheOptions } from './near-cache.ts'
import type { StoreAccess } from './store-access.ts'

export interface DedicatedSettings {
  readonly store: SessionStore
  readonly nearCache: NearCacheOptions | false
  readonly whenDown: 'fail' | 'readCached' | 'anonymous'
  readonly deadlineMs: number
}

export interface DedicatedParts {
  readonly settings: DedicatedSettings
  readonly context: StrategyContext
  readonly access: StoreAccess
  readonly notes: DedicatedNotes
  readonly cache: NearCache | undefined
}
