import type { Runtime } from '../seam.ts'
import { LOOK } from './memcached-items.ts'
import type { Decision, MemcachedItems } from './memcached-items.ts'
import type { MemcachedItem, SessionItem, UserItem, UserSession } from './memcached-record.ts'

/**
 * One item per user: an epoch that every session of theirs carries, and their newest sessions. A revocation is one
 * compare-and-set of it: sessions with the old epoch are over, whether they are listed or not.
 */
export interface MemcachedUsers {
  /**
   * Lists a session before it is written, and tells the epoch that it has to carry. `from`: it takes the place of this one
   * of the same user, in whatever state that is by then; undefined when that one is over.
   */
  enrol(userId: string, session: UserSession, until: number, from?: Held): Promise<string | undefined>
  /** Undefined: the user's item was lost, and nothing is known of their sessions. */
  find(userId: string, until: number): Promise<UserItem | undefined>
  /** A new epoch for all but `spared`. The sessions that were listed. */
  revoke(userId: string, markUntil: number, spared: string | undefined, until: number): Promise<readonly UserSession[]>
  /** Nobody waits for this: `list` checks what it finds. */
  forget(userId: string | undefined, key: string, until: number): void
}

/** A session as it was read. */
export interface Held {
  readonly key: string
  readonly item: SessionItem
}

const LISTED_MOST = 200
const EPOCH_BYTES = 8

/** `session`: of a key, for one that is to be spared and no longer listed. */
export function memcachedUsers(
  items: MemcachedItems,
  runtime: Runtime,
  keyOf: (userId: string) => string,
  session: (key: string, until: number) => Promise<MemcachedItem | undefined>,
): MemcachedUsers {
  const newEpoch = (): string => runtime.randomBytes(EPOCH_BYTES).toString('base64url')

  function enrolled(user: MemcachedItem | undefined, isFresh: boolean, added: UserSession, from?: Held): Decision<string | undefined> {
    const known = user?.kind === 'user' ? user : undefined
    if (from !== undefined && standing(from.key, from.item, known) !== 'live') return isFresh ? { result: undefined } : LOOK
    if (known === undefined) {
      if (!isFresh) return LOOK
      const item: UserItem = { kind: 'user', epoch: newEpoch(), revokedAt: 0, until: added.end, sessions: [added] }
      return { result: item.epoch, item }
    }
    const { epoch, sessions } = known
    if (sessions.some(({ key, end }) => key === added.key && end === added.end)) return isFresh ? { result: epoch } : LOOK
    const listed = newest([...sessions.filter(({ key }) => key !== added.key), added])
    return { result: epoch, item: { ...known, until: Math.max(known.until, added.end), sessions: listed } }
  }

  function newest(sessions: readonly UserSession[]): UserSession[] {
    const now = runtime.now()
    return sessions.filter(({ end }) => end > now).slice(-LISTED_MOST)
  }

  /** Only a session that is not over already is spared: nothing brings one back. */
  async function isAlive(user: UserItem, userId: string, key: string, until: number): Promise<boolean> {
    if (user.spared === key || user.sessions.some((listed) => listed.key === key)) return true
    const found = await session(key, until)
    return found?.kind === 'session' && found.record.meta.userId === userId && found.epoch === user.epoch
  }

  async function revoked(user: UserItem, userId: string, markUntil: number, spared: string | undefined, until: number): Promise<UserItem> {
    const { sessions } = user
    const after = { kind: 'user', epoch: newEpoch(), revokedAt: runtime.now(), until: Math.max(user.until, markUntil) } as const
    if (spared === undefined || !(await isAlive(user, userId, spared, until))) return { ...after, sessions: [] }
    return { ...after, spared, sessions: [sessions.find(({ key }) => key === spared) ?? { key: spared, end: user.until }] }
  }

  return {
    enrol: (userId, added, until, from) =>
      items.change(keyOf(userId), until, 'seen', (user, isFresh) => enrolled(user, isFresh, added, from)),
    async find(userId, until): Promise<UserItem | undefined> {
      const user = await items.read(keyOf(userId), until)
      return user?.kind === 'user' ? user : undefined
    },
    revoke: (userId, markUntil, spared, until) =>
      items.change<readonly UserSession[]>(keyOf(userId), until, 'seen', async (user, isFresh) => {
        if (user?.kind !== 'user') return isFresh ? { result: [] } : LOOK
        return { result: user.sessions, item: await revoked(user, userId, markUntil, spared, until) }
      }),
    forget(userId, key, until): void {
      if (userId === undefined) return
      const without = (user: MemcachedItem | undefined, isFresh: boolean): Decision<void> => {
        if (user?.kind !== 'user' || !user.sessions.some((listed) => listed.key === key)) return isFresh ? { result: undefined } : LOOK
        return { result: undefined, item: { ...user, sessions: user.sessions.filter((listed) => listed.key !== key) } }
      }
      items.change(keyOf(userId), until, 'seen', without).catch(() => {})
    },
  }
}

/** `unknown`: the user's item was lost, so nobody can tell whether the session was revoked. */
export function standing(key: string, { epoch }: SessionItem, user: UserItem | undefined): 'live' | 'revoked' | 'unknown' {
  if (user === undefined) return 'unknown'
  return user.epoch === epoch || user.spared === key ? 'live' : 'revoked'
}
