import type { SessionStore } from '../seam.ts'
import { labError } from './lab-error.ts'

/** Opens the store a URL names: `sqlite:FILE`, `redis://…`, `rediss://…`. Drivers load only when they are asked for. */
export async function storeFromUrl(url: string): Promise<SessionStore> {
  if (url.startsWith('sqlite:')) {
    const { sqliteStore } = await import('../stores/sqlite.ts')
    return sqliteStore({ file: url.slice('sqlite:'.length) })
  }
  if (/^rediss?:/.test(url)) {
    const { redisStore } = await import('../stores/redis.ts')
    return redisStore({ url })
  }
  throw labError(400, 'OPTION_INVALID', 'The store must be sqlite:FILE, redis://HOST:PORT or rediss://HOST:PORT.')
}
