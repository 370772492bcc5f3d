import type { SessionsStatus } from '../types.ts'
import type { DedicatedSettings } from './dedicated-parts.ts'
import type { NearCache } from './near-cache.ts'

const DOWN: Readonly<Record<DedicatedSettings['whenDown'], string>> = {
  fail: 'The store cannot be reached: requests that have a session are answered 503.',
  readCached: 'The store cannot be reached: near copies are read, all else is answered 503.',
  anonymous: 'The store cannot be reached: visitors are served as strangers, and writes are answered 503.',
}

export function dedicatedStatus(
  { store, whenDown }: DedicatedSettings,
  state: 'up' | 'down',
  cache: NearCache | undefined,
): Omit<SessionsStatus, 'strategy' | 'node'> {
  const notProtected = [...(store.notProtected ?? [])]
  if (state === 'down') notProtected.push(DOWN[whenDown])
  if (whenDown === 'readCached')
    notProtected.push('While the store is down, a session revoked elsewhere may still be read here (whenDown: readCached).')
  const shown = { name: store.name, state }
  if (cache === undefined) return { store: shown, notProtected }
  const { sessions, bytes } = cache.counts
  return { store: shown, notProtected, details: { nearCopies: sessions, nearCopyBytes: bytes, leaseMs: cache.leaseMs } }
}
