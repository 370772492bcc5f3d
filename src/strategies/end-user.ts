import type { SessionStore } from '../seam.ts'
import type { StoreAccess } from './store-access.ts'

/** A session that logs in or regenerates while its user is revoked shows up in the next look. */
const LOOKS = 3

/** Ends a user's sessions: in one step where the store can, else one after the other. The keys of those that were ended. */
export async function endUserSessions(
  store: SessionStore,
  access: Pick<StoreAccess, 'ask'>,
  userId: string,
  markUntil: number,
  { except }: { except?: string },
): Promise<readonly string[]> {
  if (store.endUser !== undefined) {
    return access.ask(async () => (await store.endUser?.(userId, markUntil, except === undefined ? {} : { except })) ?? [])
  }
  const ended: string[] = []
  for (let look = 0; look < LOOKS; look++) {
    const before = ended.length
    for await (const { key } of store.list({ userId })) {
      if (key === except) continue
      if (await access.ask(() => store.destroy(key, 'destroyed', markUntil, { userId }))) ended.push(key)
    }
    if (ended.length === before) break
  }
  return ended
}
