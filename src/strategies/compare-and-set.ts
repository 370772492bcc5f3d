import { SessionError } from '../errors.ts'
import type { Runtime } from '../seam.ts'

/** Attempts against the writers of other servers; those of this server queue. */
const ATTEMPTS = 16
const LONGEST_BACKOFF_MS = 32

export interface CompareAndSet<Seen, Done> {
  newest(): Promise<Seen>
  /** Undefined: somebody else was faster. */
  attempt(seen: Seen): Promise<Done | undefined>
}

/** Optimistic concurrency with bounded, jittered retries. `first`: what is believed to be the newest, if anything is. */
export async function compareAndSet<Seen, Done>(
  runtime: Runtime,
  first: Seen | undefined,
  steps: CompareAndSet<Seen, Done>,
): Promise<Done> {
  let seen = first ?? (await steps.newest())
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const done = await steps.attempt(seen)
    if (done !== undefined) return done
    if (attempt > 0) await backOff(runtime, attempt)
    seen = await steps.newest()
  }
  throw new SessionError('SESSION_UNAVAILABLE', 'Too many servers update this session at once: send the request again.', {
    headers: { 'retry-after': '1' },
  })
}

function backOff(runtime: Runtime, attempt: number): Promise<void> {
  const most = Math.min(2 ** attempt, LONGEST_BACKOFF_MS)
  const wait = ((runtime.randomBytes(1)[0] as number) / 256) * most
  return new Promise((done) => void runtime.setTimer(wait, done))
}
