/** Announcements (PostgreSQL, "NOTIFY"): the server delivers them in the order of the commits, to one connection that listens. */
import type { ChangeListener, ChangeWatch, StoreContext, Timer } from '../seam.ts'
import type { PostgresClientLike } from './postgres-options.ts'
import type { PostgresConnections } from './postgres-connections.ts'

export interface PostgresWatcher {
  /** Begins every payload: 16 characters that tell whose it is. */
  readonly tag: string
  watch(listener: ChangeListener): ChangeWatch
  /** A statement of ours got no answer: for a while our own announcements count as those of others. */
  doubt(): void
  close(): void
}

const FIRST_BACKOFF_MS = 50
const LONGEST_BACKOFF_MS = 500
const TAG_BYTES = 8
/** Longer than any statement should wait for a lock. */
const DOUBT_MS = 600_000

interface Ping {
  readonly id: string
  readonly answered: Promise<boolean>
  end(isAnswered: boolean): void
}

/**
 * `channel` carries the changes of all servers; pings go through the same queue on a channel of this store's own, so that nobody
 * else is sent them.
 */
export function postgresWatcher(connections: PostgresConnections, channel: string, context: StoreContext): PostgresWatcher {
  const { runtime, deadlineMs } = context
  const tag = runtime.randomBytes(TAG_BYTES).toString('hex')
  const ownChannel = `holdfast_${tag}`
  const listeners = new Set<ChangeListener>()
  let client: PostgresClientLike | undefined
  let opening: Promise<void> | undefined
  let inFlight: Ping | undefined
  let queued: Ping | undefined
  let pings = 0
  let doubtUntil = Number.NEGATIVE_INFINITY
  let failures = 0
  let next: Timer | undefined
  let deadline: Timer | undefined

  const onNotification = ({ channel: from, payload = '' }: { channel: string; payload?: string }): void => {
    if (from === ownChannel) return payload === inFlight?.id ? answered() : undefined
    if (from !== channel || (payload.startsWith(tag) && runtime.monotonic() >= doubtUntil)) return
    const key = payload.slice(tag.length)
    for (const listener of listeners) listener.changed(key)
  }

  function open(): void {
    next = undefined
    opening ??= connect()
      .catch(() => {})
      .finally(() => {
        opening = undefined
        if (client === undefined && listeners.size > 0) later()
      })
  }

  async function connect(): Promise<void> {
    const until = runtime.monotonic() + deadlineMs
    const taken = await connections.take(deadlineMs)
    let isHeld = true
    const giveBack = (): void => {
      if (isHeld) taken.release(true)
      isHeld = false
    }
    const onEnd = (): void => broken(taken)
    taken.on('error', onEnd)
    taken.on('end', onEnd)
    taken.on('notification', onNotification)
    const timer = runtime.setTimer(Math.max(0, until - runtime.monotonic()), giveBack)
    try {
      // A ping need not wait for the disk: it is ordered after the commits before it all the same.
      await taken.query({ text: `SET synchronous_commit = off; LISTEN "${channel}"; LISTEN "${ownChannel}"` })
    } catch (error) {
      giveBack()
      throw error
    } finally {
      timer.cancel()
    }
    if (listeners.size === 0) giveBack()
    if (!isHeld) return
    taken.unref?.()
    client = taken
    failures = 0
    // What happened before it listened was not announced.
    for (const listener of listeners) listener.lost()
  }

  function later(): void {
    const most = Math.min(FIRST_BACKOFF_MS * 2 ** failures, LONGEST_BACKOFF_MS)
    failures = Math.min(failures + 1, 10)
    next ??= runtime.setTimer(most * (0.5 + (runtime.randomBytes(1)[0] as number) / 512), open)
  }

  function broken(which: PostgresClientLike): void {
    if (which !== client) return
    drop()
    for (const listener of listeners) listener.lost()
    if (listeners.size > 0) later()
  }

  /** The given pool must not hand out a connection that listens. */
  function drop(): void {
    const dropped = client
    client = undefined
    deadline?.cancel()
    const ended = [inFlight, queued]
    inFlight = undefined
    queued = undefined
    for (const ping of ended) ping?.end(false)
    dropped?.off('notification', onNotification)
    dropped?.release(true)
  }

  function answered(): void {
    deadline?.cancel()
    const ended = inFlight
    inFlight = queued
    queued = undefined
    if (inFlight === undefined) client?.unref?.()
    else send(inFlight)
    ended?.end(true)
  }

  function send(ping: Ping): void {
    const mine = client
    if (mine === undefined) return ping.end(false)
    // Somebody waits for the answer: the process must not end before it, as it may while nothing is asked.
    mine.ref?.()
    deadline = runtime.setTimer(deadlineMs, () => broken(mine))
    mine.query({ text: 'SELECT pg_notify($1, $2)', values: [ownChannel, ping.id], name: 'holdfast_ping' }).catch(() => broken(mine))
  }

  function newPing(): Ping {
    let end!: (isAnswered: boolean) => void
    const answer = new Promise<boolean>((resolve) => {
      end = resolve
    })
    return { id: String(++pings), answered: answer, end }
  }

  async function confirm(): Promise<boolean> {
    if (client === undefined) await opening
    if (client === undefined) return false
    // One that is under way began too early to speak for what was applied since.
    if (inFlight !== undefined) return (queued ??= newPing()).answered
    inFlight = newPing()
    send(inFlight)
    return inFlight.answered
  }

  function inTime(answer: Promise<boolean>): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = runtime.setTimer(deadlineMs, () => resolve(false))
      void answer.then((isAnswered) => {
        timer.cancel()
        resolve(isAnswered)
      })
    })
  }

  return {
    tag,
    watch(listener): ChangeWatch {
      listeners.add(listener)
      if (client === undefined && next === undefined) open()
      return {
        confirm: () => (listeners.has(listener) ? inTime(confirm()) : Promise.resolve(false)),
        close(): void {
          listeners.delete(listener)
          if (listeners.size === 0) stop()
        },
      }
    },
    doubt(): void {
      doubtUntil = runtime.monotonic() + DOUBT_MS
    },
    close(): void {
      listeners.clear()
      stop()
    },
  }

  function stop(): void {
    next?.cancel()
    next = undefined
    drop()
  }
}
