import { createHash } from 'node:crypto'
import { SessionError } from '../errors.ts'
import type { Draft, PatchResult, SessionStore, StoreContext, StoredRecord, StorePatch } from '../seam.ts'
import type { SessionSummary } from '../types.ts'
import { availability } from './availability.ts'
import { memcachedItems } from './memcached-items.ts'
import { checkedMemcachedOptions } from './memcached-options.ts'
import type { MemcachedStoreOptions, MemcachedTarget } from './memcached-options.ts'
import { memcachedServers } from './memcached-servers.ts'
import type { MemcachedServers } from './memcached-servers.ts'
import { memcachedSessions } from './memcached-sessions.ts'
import type { MemcachedSessions } from './memcached-sessions.ts'
import { memcachedUsers } from './memcached-users.ts'
import type { GoneMark } from './row.ts'

export type { MemcachedStoreOptions, MemcachedTarget } from './memcached-options.ts'

/** What a session's key looks like; any other text is hashed before it becomes part of an item's. */
const KEY = /^[\w-]{1,64}$/

/**
 * Keeps sessions in Memcached 1.6 or newer (meta protocol; no package is needed). Several servers share the keys. One that
 * is down makes its keys STORE_UNAVAILABLE: they are never moved to another. Naming other servers moves some keys, and
 * loses those sessions.
 *
 * A write is one command where this server was the last to read or write the session, else up to four. A read is one; two
 * of a session with a user, whose epoch `revokeUser` changes. The near cache of `dedicated` saves reads.
 *
 * Neither TLS nor SASL is supported: keep Memcached on a private network. Sessions are at most as large as it takes items
 * (`memcached -I`, 1 MiB). Let it evict: with `-M`, a full Memcached drops the session that it refuses to replace. The clocks
 * of the application servers have to agree to about a second.
 *
 * Throws CONFIG_INVALID with all problems of the options. Rejects with STORE_UNAVAILABLE within the deadline while a server cannot be
 * reached, and with SESSION_TOO_LARGE before anything is sent. A record that does not parse is STORE_RECORD_INVALID, names its key and stays;
 * a counter that cannot be summed is FIELD_INVALID, and nothing is written.
 */
export function memcachedStore(target: MemcachedTarget, options: MemcachedStoreOptions = {}): SessionStore {
  const { servers: addresses, prefix } = checkedMemcachedOptions(target, options)
  const state = availability('memcachedStore')
  let open: { readonly servers: MemcachedServers; readonly sessions: MemcachedSessions } | undefined

  const sessionKey = (key: string): string => (KEY.test(key) ? `${prefix}:s:${key}` : `${prefix}:x:${hashOf(key)}`)
  const userKey = (userId: string): string => `${prefix}:u:${hashOf(userId)}`

  function start(context: StoreContext): NonNullable<typeof open> {
    const { runtime } = context
    const servers = memcachedServers(addresses, context, state)
    const items = memcachedItems(servers, runtime)
    const users = memcachedUsers(items, runtime, userKey, (key, until) => items.read(sessionKey(key), until, false))
    return { servers, sessions: memcachedSessions(items, users, sessionKey, runtime) }
  }

  function sessions(): MemcachedSessions {
    // Throws when it is not open.
    state.context()
    return (open as NonNullable<typeof open>).sessions
  }

  /** Monotonic ms: all commands of one operation share its deadline. */
  function deadline(): number {
    const { runtime, deadlineMs } = state.context()
    return runtime.monotonic() + deadlineMs
  }

  return {
    name: 'memcached',
    capabilities: new Set(['users'] as const),
    freshness: 'lease',
    notProtected: [
      'Memcached keeps sessions in memory: a restart loses those of that server, and when it is full it drops those not used for longest; both are reported as regressed (memcachedStore).',
      "Of a user's sessions the newest 200 are listed; revokeUser ends the older ones, too (memcachedStore).",
    ],
    async ready(context: StoreContext): Promise<void> {
      state.join(context)
      open ??= start(context)
      await open.servers.ready()
    },
    async read(key: string): Promise<StoredRecord | GoneMark | undefined> {
      return sessions().read(key, deadline())
    },
    async create(key: string, draft: Draft, writeId: string): Promise<boolean> {
      return sessions().create(key, draft, writeId, deadline())
    },
    async patch(key: string, patch: StorePatch): Promise<PatchResult> {
      return sessions().patch(key, patch, deadline())
    },
    async replace(oldKey: string, newKey: string, draft: Draft, writeId: string, ifVersion?: number): Promise<PatchResult> {
      return sessions().replace(oldKey, newKey, draft, writeId, ifVersion, deadline())
    },
    async destroy(key: string, reason: GoneMark['gone'], markUntil: number, filter: { userId?: string } = {}): Promise<boolean> {
      return sessions().destroy(key, reason, markUntil, filter, deadline())
    },
    async endUser(userId: string, markUntil: number, filter: { except?: string } = {}): Promise<readonly string[]> {
      return sessions().endUser(userId, markUntil, filter, deadline())
    },
    async *list(filter: { userId?: string }): AsyncGenerator<SessionSummary> {
      if (filter.userId === undefined) {
        throw new SessionError(
          'STRATEGY_UNSUPPORTED',
          'memcachedStore cannot list all sessions, Memcached has no index: list those of one user, or use another store',
        )
      }
      yield* sessions().list(filter.userId, deadline)
    },
    async close(): Promise<void> {
      if (!state.leave()) return
      open?.servers.close()
      open = undefined
    },
  }
}

/** A user id can be any text and may say who somebody is: only its hash becomes part of a key. */
function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
