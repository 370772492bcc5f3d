/** A session store for one command: opened, used and closed, each within a deadline. */
import { existsSync } from 'node:fs'
import { systemRuntime } from '../core/runtime.ts'
import { SessionError } from '../errors.ts'
import { sqliteFile, storeFromUrl, type StoreUrlOptions } from '../lab/store-url.ts'
import type { SessionStore } from '../seam.ts'
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
  const store = await usageErrors(() => storeFromUrl(url, options))
  const file = sqliteFile(url)
  if (file !== undefined && !existsSync(file))
    throw new Error(`There is no file ${JSON.stringify(file)}: name the one that the application uses.`)
  const runtime = systemRuntime()
  const awake = runtime.keepAlive?.()
  try {
    await within(PATIENCE_MS, () => store.ready({ runtime, logger: SILENT, deadlineMs: DEADLINE_MS, stateChanged: () => {} }))
    return await use({ store, step: (work) => within(PATIENCE_MS, work) })
  } finally {
    await within(CLOSE_MS, () => store.close()).catch(() => undefined)
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
