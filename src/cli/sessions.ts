/** `holdfast sessions list|show|revoke|revoke-user`: administration against a store that servers use at the same time. */
import { setTimeout as delay } from 'node:timers/promises'
import { expiresAt, summaryOf } from '../core/stored-record.ts'
import { endUserSessions } from '../strategies/end-user.ts'
import { type OpenRevocations, type OpenStore, withRevocations, withStore } from './open-store.ts'
import { sessionsRequest, type SessionsTask } from './sessions-options.ts'
import { bytesOf, fieldsJson, jsonText, printable, recordText, summaryJson, TABLE_HEAD, tableRow } from './sessions-text.ts'
import { usageError } from './usage-error.ts'

/** A late writer learns for this long, at least, why nothing was stored. */
const MARK_MS = 600_000
/** The longest that a server may be told to answer from a near copy. */
const LONGEST_LEASE_MS = 1_000

type Task<Action extends SessionsTask['action']> = Extract<SessionsTask, { action: Action }>

/** Resolves to the exit code. */
export async function sessionsCommand(flags: Readonly<Record<string, unknown>>, args: readonly string[]): Promise<number> {
  const { task, store, storeOptions, json, cookieBased } = usageError(() => sessionsRequest(args, flags, process.env))
  if (cookieBased) {
    await withRevocations(store, storeOptions, (open) => revokeUnseen(open, task, json))
    return 0
  }
  await withStore(store, storeOptions, (open) => {
    switch (task.action) {
      case 'list':
        return list(open, task, json)
      case 'show':
        return show(open, task, json)
      case 'revoke':
        return revoke(open, task, json)
      case 'revoke-user':
        return revokeUser(open, task, json)
    }
  })
  return 0
}

async function list({ store }: OpenStore, { userId, limit }: Task<'list'>, json: boolean): Promise<void> {
  const needs = userId === undefined ? 'list' : 'users'
  if (!store.capabilities.has(needs)) {
    const advice = store.capabilities.has('users') ? 'name a user with --user ID' : 'keep the keys that the application logs'
    throw new Error(`A ${store.name} store cannot list ${userId === undefined ? 'all sessions' : "a user's sessions"}: ${advice}.`)
  }
  let count = 0
  let more = false
  const columns = process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY
  for await (const session of store.list(userId === undefined ? {} : { userId })) {
    const now = Date.now()
    if (session.expiresAt <= now) continue
    if (count === limit) {
      more = true
      break
    }
    if (count === 0 && !json) await print(`${TABLE_HEAD}\n`)
    const line = json ? `${count === 0 ? '[' : ','}${jsonText(summaryJson(session))}\n` : `${tableRow(session, now, columns)}\n`
    count += 1
    if (!(await print(line))) return
  }
  if (json) await print(count === 0 ? '[]\n' : ']\n')
  else tell(`${count === 1 ? '1 session' : `${count || 'no'} sessions`}${more ? ', and there are more: raise --limit' : ''}`)
}

async function show({ store, step }: OpenStore, { key, values }: Task<'show'>, json: boolean): Promise<void> {
  const record = await step(() => store.read(key))
  const now = Date.now()
  if (record !== undefined && 'gone' in record) {
    const at = record.endedAt === undefined ? '' : ` at ${new Date(record.endedAt).toISOString()}`
    throw new Error(`This session has ended: it was ${record.gone}${at}.`)
  }
  if (record === undefined || expiresAt(record.meta) <= now) throw new Error(NO_SESSION)
  const summary = summaryOf(key, record.meta)
  if (!json) return void (await print(`${recordText(summary, record, values, now)}\n`))
  const bytes = [...record.fields].reduce((sum, [name, encoded]) => sum + bytesOf(name, encoded), 0)
  const { version, removed = [] } = record
  await print(`${jsonText({ ...summaryJson(summary), version, bytes, fields: fieldsJson(record, values), removed: [...removed] })}\n`)
}

async function revoke({ store, step }: OpenStore, { key, userId }: Task<'revoke'>, json: boolean): Promise<void> {
  const filter = userId === undefined ? {} : { userId }
  const revoked = await step(() => store.destroy(key, 'destroyed', Date.now() + MARK_MS, filter))
  if (revoked) await untilServersKnow(store)
  if (json) await print(`${jsonText({ key, revoked })}\n`)
  if (!revoked)
    throw new Error(userId === undefined ? NO_SESSION : 'Nothing was revoked: this user has no such session; see holdfast sessions list.')
  if (!json) await print(`revoked ${key}\n`)
}

async function revokeUser({ store }: OpenStore, { userId, except }: Task<'revoke-user'>, json: boolean): Promise<void> {
  if (!store.capabilities.has('users')) throw new Error(`A ${store.name} store cannot find a user's sessions: revoke them by their keys.`)
  const keys = await endUserSessions(store, PLAIN_ACCESS, userId, Date.now() + MARK_MS, except === undefined ? {} : { except })
  if (keys.length > 0) await untilServersKnow(store)
  if (json) await print(`${jsonText({ userId, revoked: keys.length, keys })}\n`)
  else await print(`revoked ${keys.length === 1 ? '1 session' : `${keys.length} sessions`} of ${printable(userId)}\n`)
}

/** Of sessions in browsers nobody knows which there are: what is said is that none of them is accepted any more. */
async function revokeUnseen({ revocations, step }: OpenRevocations, task: SessionsTask, json: boolean): Promise<void> {
  if (task.action === 'revoke') {
    const { key, userId } = task
    const revoked = await step(() => revocations.revoke(key, userId === undefined ? {} : { userId }))
    if (json) return void (await print(`${jsonText({ key, revoked })}\n`))
    return void (await print(revoked ? `revoked ${key}\n` : `${key} was revoked before\n`))
  }
  if (task.action !== 'revoke-user') return
  const { userId, except } = task
  await step(() => revocations.revokeUser(userId, except === undefined ? {} : { except }))
  await print(
    json ? `${jsonText({ userId })}\n` : `revoked all sessions of ${printable(userId)}${except === undefined ? '' : ' but one'}\n`,
  )
}

const NO_SESSION =
  'There is no live session of this key: it has ended, or never was; see holdfast sessions list (sessions of cookieBased: --cookie-based).'

/** Once it is said that a session is revoked, no server accepts it any more. */
async function untilServersKnow(store: OpenStore['store']): Promise<void> {
  if (store.freshness !== undefined) await delay(LONGEST_LEASE_MS)
}

const nothing = async (): Promise<void> => {}
/** No retry, no breaker: whoever typed the command sees what happened. */
const PLAIN_ACCESS = {
  state: 'up',
  ready: nothing,
  started: nothing,
  ask: <R>(work: () => Promise<R>): Promise<R> => work(),
  close: nothing,
} as const

/** Waits until it is written. False: the reader has left. */
function print(text: string): Promise<boolean> {
  return new Promise((resolve) => {
    process.stdout.write(text, (error) => resolve(error === undefined || error === null))
  })
}

function tell(line: string): void {
  process.stderr.write(`${line}\n`)
}
