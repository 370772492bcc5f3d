import { userHash } from './redis-record.ts'

export interface RedisNames {
  session(key: string): string
  /** The index of a user's sessions. */
  user(userId: string): string
  /** The key of the session that has this name; of anything else the name without the prefix. */
  keyOf(name: string): string
  isSession(name: string): boolean
}

export function redisNames(prefix: string): RedisNames {
  const session = `${prefix}:s:`
  const isSession = (name: string): boolean => name.startsWith(session)
  return {
    session: (key) => session + key,
    user: (userId) => `${prefix}:u:${userHash(userId)}`,
    keyOf: (name) => name.slice(isSession(name) ? session.length : prefix.length + 1),
    isSession,
  }
}
