/**
 * How an ending finds out that every server has heard of it. Each server that keeps copies is on a roll in the store, and answers from
 * copies only while it knows that it is. An ending makes a call; a server answers it once all that was announced before the call has
 * been processed. When everybody on the roll has answered, no copy is left: no server was forgotten, as the roll outlives connections.
 */
import type { Runtime } from '../seam.ts'

/** The roll as the store keeps it. Each method is one atomic step and rejects when there is no answer. */
export interface Roll {
  /** Puts this server on the roll. `call`: the last one made; everything announced before it has been processed here. The next is told. */
  enroll(id: string, beat: number): Promise<{ readonly call: number; readonly isNew: boolean }>
  /** Shows that this server is still there; all that was announced before has been processed. False: it is not on the roll. */
  renew(id: string, beat: number): Promise<boolean>
  /** This server has processed what was announced before this call. The last one made, in the same sense as `enroll`'s. */
  answer(id: string, call: number): Promise<number>
  /** Makes a call, which everybody on the roll is told. Undefined: this server is not on the roll. */
  call(id: string): Promise<number | undefined>
  /** The call that everybody on the roll has answered. Undefined: this server is not on the roll. */
  answered(id: string): Promise<number | undefined>
  /** Some of those who have not answered this call, each with its last beat. */
  silent(call: number): Promise<ReadonlyMap<string, string>>
  /** Takes a server off the roll, if this is still its last beat; without a beat in any case. */
  strike(id: string, beat?: string): Promise<void>
}

export interface RollCall {
  /** True: until `goneMs - renewMs` from now on this server is on the roll. `ping` is asked where that is known already. */
  confirm(ping: () => Promise<boolean>): Promise<boolean>
  /** As `ChangeWatch.heardByAll`. */
  heardByAll(ms: number): Promise<boolean>
  /** A call was made, and all that was announced before it has been processed. */
  called(): void
  /** Announcements may have been missed. */
  lost(): void
  /** No copy is kept any more. Never rejects. */
  leave(): Promise<void>
}

export interface RollTimes {
  /** A server shows itself this often while it answers from copies. */
  readonly renewMs: number
  /** Who has not been seen for so long answers from no copy: more than `renewMs` and the longest lease. */
  readonly goneMs: number
}

/** The longest lease is 1,000. */
const TIMES: RollTimes = { renewMs: 1_000, goneMs: 2_500 }
const ID_BYTES = 8
/** Answers are looked for after so long, then at intervals that double. */
const FIRST_LOOK_MS = 1
const LONGEST_LOOK_MS = 16

export function rollCall(roll: Roll, runtime: Runtime, { renewMs, goneMs }: RollTimes = TIMES): RollCall {
  const id = runtime.randomBytes(ID_BYTES).toString('hex')
  /** Counts breaks of the channel: what was asked before one says nothing about the time after it. */
  let life = 0
  let beats = 0
  /** Since when it is known to be on the roll without a break; undefined: it is not. */
  let since: number | undefined
  let renewedAt = Number.NEGATIVE_INFINITY
  /** All that was announced before this call has been processed. */
  let heard = 0
  let told = 0
  let isAnswering = false
  let hasLeft = false
  /** Those that missed a call: their beats, and since when these have not changed. */
  let missing = new Map<string, { readonly beat: string; readonly at: number }>()
  let round: Promise<boolean> | undefined
  let next: Promise<boolean> | undefined

  function off(): void {
    since = undefined
    renewedAt = Number.NEGATIVE_INFINITY
  }

  async function enroll(): Promise<boolean> {
    const mine = life
    const sentAt = runtime.monotonic()
    off()
    const { call, isNew } = await roll.enroll(id, ++beats)
    if (mine !== life || hasLeft) return false
    heard = call
    renewedAt = sentAt
    // Whoever is new need not answer earlier calls: until now it answered from no copy.
    if (!isNew) called()
    since = runtime.monotonic()
    return true
  }

  async function renew(): Promise<boolean> {
    const mine = life
    const sentAt = runtime.monotonic()
    const isOn = await roll.renew(id, ++beats)
    if (mine !== life || hasLeft) return false
    if (!isOn) return enroll()
    renewedAt = sentAt
    return true
  }

  function called(): void {
    told += 1
    if (!isAnswering && !hasLeft) void answerAll()
  }

  async function answerAll(): Promise<void> {
    const mine = life
    isAnswering = true
    try {
      for (;;) {
        const [toldBefore, before] = [told, heard]
        const last = await roll.answer(id, before)
        if (mine !== life) return
        // What this answer brings has been processed only now: it is answered next.
        if (last > before) heard = last
        else if (told === toldBefore) return
      }
    } catch {
      // The next call may not be told: it takes part anew.
      if (mine === life) off()
    } finally {
      isAnswering = false
    }
  }

  async function callRoll(ms: number): Promise<boolean> {
    const until = runtime.monotonic() + ms
    if (since === undefined) {
      if (!hasLeft) await enroll()
      return false
    }
    const [mine, onSince] = [life, since]
    // Whoever is on the roll for so long without a break knows that the others have not been lost from it.
    if (runtime.monotonic() - onSince < goneMs) return false
    const number = await roll.call(id)
    for (let wait = FIRST_LOOK_MS; number !== undefined; wait = Math.min(wait * 2, LONGEST_LOOK_MS)) {
      await new Promise<void>((done) => void runtime.setTimer(wait, done))
      const all = await roll.answered(id)
      if (mine !== life || since !== onSince) return false
      if (all === undefined) break
      if (all >= number) return true
      if (runtime.monotonic() < until) continue
      await strikeGone(number)
      return false
    }
    if (mine === life && since === onSince) off()
    return false
  }

  /** A dead server must not slow down endings for ever; one that is only slow shows itself meanwhile. */
  async function strikeGone(number: number): Promise<void> {
    const silent = await roll.silent(number)
    const now = runtime.monotonic()
    const before = missing
    missing = new Map()
    for (const [silentId, beat] of silent) {
      const known = before.get(silentId)
      if (known?.beat !== beat) missing.set(silentId, { beat, at: now })
      else if (now - known.at < goneMs) missing.set(silentId, known)
      else await roll.strike(silentId, beat)
    }
  }

  function startRound(ms: number): Promise<boolean> {
    const mine = callRoll(ms)
      .catch(() => false)
      .finally(() => {
        round = undefined
      })
    round = mine
    return mine
  }

  return {
    async confirm(ping): Promise<boolean> {
      if (hasLeft) return false
      try {
        if (since === undefined) return await enroll()
        return runtime.monotonic() - renewedAt < renewMs ? await ping() : await renew()
      } catch {
        return false
      }
    },
    heardByAll(ms): Promise<boolean> {
      if (round === undefined) return startRound(ms)
      // A round under way began too early to speak for what ended since.
      next ??= round.then(() => {
        next = undefined
        return startRound(ms)
      })
      return next
    },
    called,
    lost(): void {
      life += 1
      heard = 0
      off()
    },
    async leave(): Promise<void> {
      if (hasLeft) return
      hasLeft = true
      off()
      await roll.strike(id).catch(() => {})
    },
  }
}
