/** What a request begins with, by what its strategy found. */
import { type PresentedJar, TOKEN_HEADER } from './core/jar.ts'
import type { Ended } from './core/refusals.ts'
import type { Engine } from './engine.ts'
import { SessionError } from './errors.ts'
import { RequestSession } from './request-session.ts'
import type { MaybePromise, Opened, Opening, RecordView } from './seam.ts'
import type { OpenSession } from './types.ts'

type Gone = Extract<Opening, { outcome: 'gone' }>
type Regressed = Extract<Opening, { outcome: 'regressed' }>

/** How long after a session ended a request with the old jar is taken for one that crossed the ending on its way. */
const CROSSING_MS = 60_000

export function beginRequest<D>(engine: Engine, presented: PresentedJar, key: string, opening: Opening): MaybePromise<OpenSession<D>> {
  switch (opening.outcome) {
    case 'found':
      return beginFound(engine, presented, opening.opened)
    case 'gone':
      return new RequestSession<D>(engine, presented, undefined, frozenBy(engine, opening))
    case 'anonymous':
      return new RequestSession<D>(engine, presented, undefined, 'STORE_UNAVAILABLE')
    case 'regressed':
      return beginRegressed(engine, presented, key, opening)
  }
}

/** A record that does not parse at all stays as it is, and there is nothing to repair: `onInvalid` can only begin anew. */
export async function beginUnreadable<D>(engine: Engine, presented: PresentedJar, key: string, error: unknown): Promise<OpenSession<D>> {
  if (!SessionError.is(error) || error.code !== 'STORE_RECORD_INVALID') throw error
  engine.emit('invalid', { key, detail: 'the stored record does not parse' })
  const { onInvalid } = engine.settings
  if (onInvalid === 'fail') throw error
  const open = new RequestSession<D>(engine, presented, undefined, undefined)
  if (typeof onInvalid === 'function') open.fields.repair((await onInvalid(undefined)) as Record<string, unknown>)
  return open
}

/** "Tombstone: gone, and this request creates no session", while the answer that ended it may still be under way. */
function frozenBy(engine: Engine, { endedAt, reason }: Gone): Ended | undefined {
  if (endedAt === undefined || engine.runtime.now() - endedAt > CROSSING_MS) return undefined
  return reason === 'replaced' ? 'SESSION_REPLACED' : reason === 'destroyed' ? 'SESSION_GONE' : undefined
}

function beginRegressed<D>(engine: Engine, presented: PresentedJar, key: string, opening: Regressed): MaybePromise<OpenSession<D>> {
  const record = opening.opened?.record
  const userId = record?.meta.userId
  engine.emit('regressed', { key, ...(userId !== undefined && { userId }) })
  const fail = opening.policy === 'fail' || (opening.policy === 'byUser' && userId !== undefined)
  if (!fail) {
    return record === undefined
      ? new RequestSession<D>(engine, presented, undefined, undefined)
      : beginFound(engine, presented, opening.opened as Opened)
  }
  const root = engine.cookies.delete(engine.settings.cookie.name)
  throw new SessionError(
    'SESSION_REGRESSED',
    'Writes that this visitor has seen were lost with the servers that held them. The token was taken back: start again, or set onRegression to serve the best copy.',
    { headers: { 'cache-control': 'no-store', ...(presented.carrier === 'cookie' ? { 'set-cookie': root } : { [TOKEN_HEADER]: '' }) } },
  )
}

function beginFound<D>(engine: Engine, presented: PresentedJar, opened: Opened): MaybePromise<OpenSession<D>> {
  const open = new RequestSession<D>(engine, presented, opened, undefined)
  // With `fail` a bad record shows itself when it is first read; the other answers have to be found before.
  if (engine.settings.onInvalid === 'fail') return open
  try {
    open.fields.snapshot()
    return open
  } catch (error) {
    if (!SessionError.is(error) || error.code !== 'STORE_RECORD_INVALID') throw error
    return beginInvalid(engine, presented, open, opened.record)
  }
}

async function beginInvalid<D>(
  engine: Engine,
  presented: PresentedJar,
  open: RequestSession<D>,
  record: RecordView,
): Promise<OpenSession<D>> {
  const { onInvalid } = engine.settings
  if (typeof onInvalid !== 'function') return new RequestSession<D>(engine, presented, undefined, undefined)
  const raw = Object.fromEntries([...record.fields()].map((name) => [name, record.get(name)]))
  open.fields.repair((await onInvalid(raw)) as Record<string, unknown>)
  return open
}
