/** Sessions whose requests do exactly what a test says. */
import type { MountableSessions } from '../../src/core/mount.ts'
import type { CommitResult, OpenSession } from '../../src/types.ts'

export interface DoubleOptions {
  needsCommit?: boolean
  settle?: CommitResult
  commit?: () => Promise<CommitResult>
}

export interface SessionsDouble extends MountableSessions<object> {
  /** What was called, in order. */
  readonly calls: string[]
}

export function sessionsDouble({ needsCommit = false, settle = { cookies: [], headers: [] }, commit }: DoubleOptions = {}): SessionsDouble {
  const calls: string[] = []
  const open: OpenSession<object> = {
    session: { data: {} } as never,
    needsCommit: () => needsCommit,
    settle() {
      calls.push('settle')
      return settle
    },
    async commit() {
      calls.push('commit')
      return (await commit?.()) ?? settle
    },
    headSent: () => void calls.push('headSent'),
    end: () => void calls.push('end'),
  }
  const logger = {
    warn: (message: unknown) => void calls.push(`warn ${String(message)}`),
    error: (message: unknown) => void calls.push(`error ${String(message)}`),
  }
  return { calls, logger, openNow: () => open, attach: () => undefined } as unknown as SessionsDouble
}
