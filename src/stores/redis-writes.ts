import type { RedisCommands } from './redis-commands.ts'
import { asStrings } from './redis-list.ts'
import { CREATE, END_REPLACED, INDEX, REPLACE, UNDO_CREATE } from './redis-scripts.ts'

/** A new session as the scripts take it. */
export interface RedisDraft {
  readonly name: string
  /** Of the user's index; undefined: no user. */
  readonly index: string | undefined
  readonly key: string
  readonly writeId: string
  /** Unix ms in the clock of Redis, as text. */
  readonly now: string
  readonly endsAt: string
  readonly absoluteAt: string
  readonly packed: string
}

/** The two operations that touch several keys. */
export interface RedisWrites {
  create(draft: RedisDraft): Promise<boolean>
  /** The reply of the script REPLACE. */
  replace(oldName: string, draft: RedisDraft, ifVersion: number | undefined): Promise<string[]>
}

/** All at once, where one server holds all keys. */
export function writesAtOnce({ until, run }: RedisCommands): RedisWrites {
  const index = (draft: RedisDraft): string[] => (draft.index === undefined ? [] : [draft.index])
  return {
    create: async (draft) => Number(await run(CREATE, [draft.name, ...index(draft)], argsOf(draft), until())) > 0,
    replace: async (oldName, draft, ifVersion) =>
      asStrings(await run(REPLACE, [oldName, draft.name, ...index(draft)], [...argsOf(draft), expected(ifVersion)], until())),
  }
}

/**
 * Step by step, where keys are on several servers. Until the last step nobody knows the new id, so what a crash leaves behind
 * is a session that nobody can present. It is made before its entry in the index: so an entry without a session is an old one.
 */
export function writesInSteps({ until, run, command }: RedisCommands): RedisWrites {
  async function create(draft: RedisDraft, by: number): Promise<boolean> {
    if (Number(await run(CREATE, [draft.name], argsOf(draft), by)) === 0) return false
    if (draft.index !== undefined) await run(INDEX, [draft.index], [draft.key, draft.now, draft.absoluteAt], by)
    return true
  }

  async function undo({ name, writeId, index, key }: RedisDraft, by: number): Promise<void> {
    await run(UNDO_CREATE, [name], [writeId], by)
    if (index !== undefined) await command(['ZREM', index, key], index, by)
  }

  return {
    create: (draft) => create(draft, until()),
    async replace(oldName, draft, ifVersion): Promise<string[]> {
      const by = until()
      if (!(await create(draft, by))) return ['c', '0']
      // The old session decides: of two at once, one ends it.
      const reply = asStrings(await run(END_REPLACED, [oldName], [draft.writeId, draft.now, expected(ifVersion)], by))
      if (!isApplied(reply)) await undo(draft, by).catch(() => {})
      return reply
    },
  }
}

/** `a`: applied; `k`: applied, and nothing had to be written. */
export function isApplied([outcome]: readonly string[]): boolean {
  return outcome === 'a' || outcome === 'k'
}

/** As the scripts take it: empty where any version will do. */
function expected(ifVersion: number | undefined): string {
  return ifVersion === undefined ? '' : String(ifVersion)
}

function argsOf({ writeId, now, endsAt, absoluteAt, key, packed }: RedisDraft): string[] {
  return [writeId, now, endsAt, absoluteAt, key, packed]
}
