/** A session store for one command: opened, used and closed, each within a deadline. */
import { existsSync } from 'node:fs'
import { systemRuntime } from '../core/runtime.ts'
import { SessionError } from '../errors.ts'
import { sqliteFile, storeFromUrl, type StoreUrlOptions } from '../lab/store-url.ts'
import type { SessionStore } from '../seam.ts'
import type { StoreRevocations } from '../strategies/cookie-store-revocations.ts'
import { storeRevocations } from './store-revocations.ts'
import { usageErrors } from './usage-error.ts'

/** Of one operation; stores keep it themselves. */
const DEADLINE_MS = 2_000
/** A store that does not keep it must not keep the command. */
const PATIENCE_MS = 5_000
const CLOSE_MS = 1_000

export interface OpenStore {
  readonly store: SessionStore
  /** Rejects when the step has not ended after 5 s. */
  step<R>(work: () => Promise<R>): Promise<R>
}

export async function withStore<R>(url: string, options: StoreUrlOptions, use: (open: OpenStore) => Promise<R>): Promise<R> {
  const store = await storeAt(url, options)
  const runtime = systemRuntime()
  const opened = (): Promise<void> => store.ready({ runtime, logger: SILENT, deadlineMs: DEADLINE_MS, stateChanged: () => {} })
  return whileOpen({ ready: opened, close: () => store.close() }, () => use({ store, step: (work) => within(PATIENCE_MS, work) }))
}

export interface OpenRevocations {
  readonly revocations: StoreRevocations
  step<R>(work: () => Promise<R>): Promise<R>
}

/** The same, of the store in which servers with `cookieBased` keep their revocations. */
export async function withRevocations<R>(url: string, options: StoreUrlOptions, use: (open: OpenRevocations) => Promise<R>): Promise<R> {
  const revocations = storeRevocations(await storeAt(url, options))
  return whileOpen(revocations, () => use({ revocations, step: (work) => within(PATIENCE_MS, work) }))
}

async function storeAt(url: string, options: StoreUrlOptions): Promise<SessionStore> {
  const store = await usageErrors(() => storeFromUrl(url, options))
  const file = sqliteFile(url)
  if (file !== undefined && !existsSync(file))
    throw new Error(`There is no file ${JSON.stringify(file)}: name the one that the application uses.`)
  return store
}

async function whileOpen<R>(what: { ready(): Promise<void>; close(): Promise<void> }, use: () => Promise<R>): Promise<R> {
  const awake = systemRuntime().keepAlive?.()
  try {
    await within(PATIENCE_MS, () => what.ready())
    return await use()
  } finally {
    await within(CLOSE_MS, () => what.close()).catch(() => undefined)
    awake?.()
  }
}

/** What goes wrong is said once, by the command. */
const SILENT = { warn: () => {}, error: () => {} }

async function within<R>(ms: number, work: () => Promise<R>): Promise<R> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const tooLate = (): void =>
      reject(new SessionError('STORE_UNAVAILABLE', 'The store does not answer: check its load, or whether it is stopped.'))
    timer = setTimeout(tooLate, ms)
  })
  try {
    return await Promise.race([work(), late])
  } finally {
    clearTimeout(timer)
  }
}
