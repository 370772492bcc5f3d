/** The writes that must tell more than whether they applied. */
import { SessionError } from '../errors.ts'
import { countOn, notNumber } from '../core/stored-record.ts'
import type { Draft, PatchResult, StoredRecord, StorePatch } from '../seam.ts'
import { recordInvalid, unavailable } from './availability.ts'
import type { MysqlResult } from './mysql-driver.ts'
import { failureOf } from './mysql-errors.ts'
import { packFields, unpackRecord } from './mysql-record.ts'
import type { Row } from './sql-record.ts'
import { tooLarge } from './mysql-session.ts'
import type { MysqlSession } from './mysql-session.ts'
import { addedBytes } from './mysql-statements.ts'
import type { MysqlStatements, PatchPlan } from './mysql-statements.ts'
import { patchRecord } from './row.ts'
import type { GoneMark } from './row.ts'

export interface MysqlWrites {
  create(session: MysqlSession, key: string, draft: Draft, writeId: string): Promise<boolean>
  /** Times of the patch in the database's clock. */
  patch(session: MysqlSession, key: string, patch: StorePatch): Promise<PatchResult>
  replace(
    session: MysqlSession,
    oldKey: string,
    newKey: string,
    draft: Draft,
    writeId: string,
    ifVersion: number | undefined,
  ): Promise<PatchResult>
  endUser(session: MysqlSession, userId: string, markUntil: number, except: string | undefined): Promise<string[]>
}

/** The row may have changed each time between a statement that did not apply and the look why. */
const TRIES = 20

export function mysqlWrites(sql: MysqlStatements, shown: string, maxBytes: () => number): MysqlWrites {
  async function liveRow(session: MysqlSession, key: string): Promise<StoredRecord | GoneMark | undefined> {
    const { rows } = await session.ask(sql.read(key))
    return rows[0] === undefined ? undefined : parsedRow(key, rows[0])
  }

  /** Again while the outcome is undecided, which takes two others between two statements of ours. */
  async function decide<R>(attempt: () => Promise<R | undefined>): Promise<R> {
    for (let tries = 0; tries < TRIES; tries++) {
      const outcome = await attempt()
      if (outcome !== undefined) return outcome
    }
    throw unavailable(`MySQL at ${shown} neither applied nor refused a write: check the modes of its connections, such as sql_mode`)
  }

  /** Undefined: not applied, for a reason that the row tells. */
  async function update(session: MysqlSession, key: string, plan: PatchPlan): Promise<PatchResult | undefined> {
    try {
      const statement = sql.update(key, plan)
      if (plan.add.size === 0) return appliedBy(await session.ask(statement), plan)
      const [changed, sums] = await session.transaction([statement, sql.counters(key, plan)])
      return appliedBy(changed as MysqlResult, plan, sums?.rows[0])
    } catch (error) {
      if (failureOf(error) !== 'refused' || SessionError.is(error)) throw error
      await session.rollback()
      return undefined
    }
  }

  async function whyNot(session: MysqlSession, key: string, plan: PatchPlan): Promise<PatchResult | undefined> {
    const found = await liveRow(session, key)
    if (found === undefined || 'gone' in found) return { outcome: 'gone', reason: found?.gone ?? 'unknown' }
    const { result, record } = patchRecord(found, plan.patch)
    if (record === undefined) return result
    const bytes = Buffer.byteLength(packFields(found.fields, found.removed)) + addedBytes(plan.set, plan.add)
    if (bytes > maxBytes()) throw tooLarge(shown, bytes, maxBytes())
    return undefined
  }

  return {
    create: (session, key, draft, writeId) =>
      decide(async () => {
        if (await inserted(session, sql.insert(key, draft, writeId))) return true
        const { rows } = await session.ask(sql.look(key))
        if (rows[0] === undefined) return undefined
        const [gone, isExpired, writeIds] = rows[0]
        if (isExpired !== '1') return gone === null && (writeIds ?? '').split(',').includes(writeId)
        await session.ask(sql.removeExpired(key))
        return undefined
      }),

    patch(session, key, patch) {
      const plan = planOf(patch)
      return decide(async () => (await update(session, key, plan)) ?? (await whyNot(session, key, plan)))
    },

    replace: (session, oldKey, newKey, draft, writeId, ifVersion) =>
      decide(async () => {
        const [marked, made] = await both(session, sql.replace(oldKey, newKey, draft, writeId, ifVersion))
        if (marked !== undefined && made?.affected === 1) {
          return { outcome: 'applied', before: marked.insertId, after: 1, counters: new Map() }
        }
        const present = await liveRow(session, newKey)
        const isLive = present !== undefined && !('gone' in present)
        if (isLive && present.writeIds.includes(writeId)) return { outcome: 'applied', before: 0, after: 1, counters: new Map() }
        const old = await liveRow(session, oldKey)
        if (old === undefined || 'gone' in old) return { outcome: 'gone', reason: old?.gone ?? 'unknown' }
        if (present !== undefined) return { outcome: 'conflict', version: isLive ? present.version : 0 }
        if (ifVersion !== undefined && ifVersion !== old.version) return { outcome: 'conflict', version: old.version }
        await session.ask(sql.removeExpired(newKey))
        return undefined
      }),

    async endUser(session, userId, markUntil, except) {
      const [found] = await session.transaction(sql.endUser(userId, markUntil, except))
      return (found?.rows ?? []).map(([key]) => String(key))
    },
  }
}

/** Its row, or STORE_RECORD_INVALID. */
export function parsedRow(key: string, row: Row): StoredRecord | GoneMark {
  const record = unpackRecord(row)
  if (record === undefined) throw recordInvalid('mysqlStore', key)
  return record
}

/** A counter that the patch assigns as well is summed here. */
function planOf(patch: StorePatch): PatchPlan {
  const set = new Map(patch.set)
  const add = new Map(patch.add)
  for (const [field, { by, from }] of patch.add) {
    if (!Number.isFinite(by) || !Number.isFinite(from)) throw notNumber(field)
    if (!set.has(field)) continue
    set.set(field, countOn(field, set.get(field), by, from))
    add.delete(field)
  }
  return { patch, set, add }
}

function appliedBy({ affected, insertId }: MysqlResult, { patch, set, add }: PatchPlan, sums?: Row): PatchResult | undefined {
  if (affected !== 1) return undefined
  const isWrite = set.size > 0 || add.size > 0 || patch.lifetime !== undefined
  const summed = [...add.keys()]
  const counters = new Map<string, string>()
  for (const field of patch.add.keys()) {
    const index = summed.indexOf(field)
    counters.set(field, index < 0 ? (set.get(field) as string) : String(Number(sums?.[index])))
  }
  return { outcome: 'applied', before: isWrite ? insertId - 1 : insertId, after: insertId, counters }
}

/** False: the key exists. */
async function inserted(session: MysqlSession, statement: string): Promise<boolean> {
  try {
    await session.ask(statement)
    return true
  } catch (error) {
    if (SessionError.is(error) || failureOf(error) !== 'duplicate') throw error
    return false
  }
}

/** Empty: the second key exists, and nothing was changed. */
async function both(session: MysqlSession, statements: readonly string[]): Promise<readonly MysqlResult[]> {
  try {
    return await session.transaction(statements)
  } catch (error) {
    if (SessionError.is(error) || failureOf(error) !== 'duplicate') throw error
    await session.rollback()
    return []
  }
}
