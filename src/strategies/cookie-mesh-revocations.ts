/** Revocations that the servers tell each other over a cluster transport: in memory everywhere, nothing is asked per request. */
import { LEASE_MS } from '../cluster/contact.ts'
import { unavailable } from '../cluster/core.ts'
import { createTable, type Table } from '../cluster/table.ts'
import { type Epoch, epochOf, eventId } from '../core/epoch.ts'
import type { MaybePromise, StrategyContext, Timer, Transport } from '../seam.ts'
import { eventKey, guardKey, kindOf, ownedKey, sparedKey, userHash } from './cookie-end-keys.ts'
import { RememberedEnds } from './cookie-ends.ts'
import type { RequiredNote, Revocations, RevocationsStatus, Standing, Subject, WhenCutOff } from './cookie-revocations.ts'

/** How often a server looks whether it was stopped: several times per lease. */
const PULSE_MS = LEASE_MS / 4
/** A server that was stopped for a while gives no answer for so long, unless it finds the others. */
const RETURNING_MS = 2_000
const LOOK_AGAIN_MS = 20

export interface MeshOptions {
  readonly whenCutOff: WhenCutOff
  /** Longest absolute lifetime of a session: a log-out everywhere is remembered for it. */
  readonly longestMs: number
}

export class MeshRevocations implements Revocations {
  readonly #context: StrategyContext
  readonly #options: MeshOptions
  readonly #ends: RememberedEnds
  readonly #table: Table
  #isReady = false
  #pulse: Timer
  #pulseAt: number
  /** When this server noticed that it had been stopped. */
  #stoppedAt = Number.NEGATIVE_INFINITY

  constructor(transport: Transport, context: StrategyContext, options: MeshOptions, ends: RememberedEnds = new RememberedEnds()) {
    this.#context = context
    this.#options = options
    this.#ends = ends
    this.#table = createTable(
      {
        transport,
        policy: { kind: 'owner', backups: 0 },
        acks: 0,
        onDegraded: 'continue',
        whenCutOff: options.whenCutOff,
        tombstones: ends,
      },
      { ...context, ended: (key, reason) => this.#heard(key, reason) },
    )
    this.#table.ready().then(
      () => {
        this.#isReady = true
      },
      // Whoever waits for `ready()` sees it.
      () => undefined,
    )
    this.#pulseAt = context.runtime.monotonic()
    this.#pulse = context.runtime.setTimer(PULSE_MS, () => this.#beat())
  }

  confirm(): MaybePromise<void> {
    if (this.#isReady && this.#table.isInContact()) return undefined
    return this.#regain()
  }

  look(subject: Subject): Standing {
    return this.#ends.standing(subject)
  }

  epoch({ events }: Pick<Standing, 'events'>): Epoch | undefined {
    return epochOf(
      this.#ends.counter,
      events.map(({ id }) => id),
    )
  }

  met(epoch: Epoch | undefined): void {
    if (epoch !== undefined) this.#ends.met(epoch.counter)
  }

  end(key: string, reason: 'destroyed' | 'replaced' | 'revoked', absoluteAt: number): MaybePromise<void> {
    return this.#table.end(key, reason, absoluteAt)
  }

  async revoke(key: string, { userId }: { userId?: string }): Promise<boolean> {
    await this.#table.ready()
    const ended = userId === undefined ? key : ownedKey(key, userId)
    if (this.#ends.has(ended) || this.#ends.has(key)) return false
    await this.#table.end(ended, 'revoked', this.#longest())
    return true
  }

  async revokeUser(userId: string, { except }: { except?: string }): Promise<void> {
    await this.#table.ready()
    const event = eventId(this.#ends.counter + 1, this.#context.runtime.randomBytes(4))
    // In this order on every link: nobody hears of the event before what it spares.
    const spared = except === undefined ? undefined : this.#table.end(sparedKey(except, event), 'revoked', this.#longest())
    await Promise.all([spared, this.#table.end(eventKey(userHash(userId), event), 'revoked', this.#longest())])
  }

  require(subject: Subject, note: RequiredNote, covers: (note: RequiredNote) => boolean): MaybePromise<boolean> {
    if (!this.#ends.standing(subject).required.every(covers)) return false
    const told = this.#table.end(guardKey(subject.key, note.name, note.counter), 'destroyed', subject.absoluteAt)
    return told instanceof Promise ? told.then(() => true) : true
  }

  status(): RevocationsStatus {
    const { details, peers } = this.#table.status()
    const notProtected = [
      'A restart of all servers at once forgets what was revoked: give `revocations` a store to survive it.',
      'A server that starts while it reaches no other takes itself for the first: it knows of no revocation until a link is there.',
    ]
    if (this.#options.whenCutOff === 'continue') {
      notProtected.push('While this server is cut off from the majority, sessions revoked there stay valid here (whenCutOff).')
    }
    return {
      notProtected,
      ...(peers !== undefined && { peers }),
      details: { ...details, revokedUsers: this.#ends.users, coarseRevocations: this.#ends.coarseSessions },
    }
  }

  ready(): Promise<void> {
    return this.#table.ready()
  }

  drain(): Promise<void> {
    return this.#table.drain()
  }

  close(): Promise<void> {
    this.#pulse.cancel()
    return this.#table.close()
  }

  // ---------------------------------------------------------------- within

  #longest(): number {
    return this.#table.now() + this.#options.longestMs
  }

  #heard(key: string, reason: Parameters<StrategyContext['ended']>[1]): void {
    if (kindOf(key) === undefined) this.#context.ended(key, reason)
    else this.#context.review?.()
  }

  #beat(): void {
    this.#feel()
    this.#pulse = this.#context.runtime.setTimer(PULSE_MS, () => this.#beat())
  }

  #feel(): void {
    const now = this.#context.runtime.monotonic()
    if (now - this.#pulseAt > LEASE_MS) this.#stoppedAt = now
    this.#pulseAt = now
  }

  async #regain(): Promise<void> {
    this.#feel()
    // Who is not ready has not heard yet what was revoked before.
    if (!this.#isReady) await this.#table.ready()
    const { runtime } = this.#context
    while (!(await this.#table.regainContact())) {
      // Its links may have been closed meanwhile: they are coming back.
      if (runtime.monotonic() - this.#stoppedAt > RETURNING_MS) {
        if (this.#options.whenCutOff === 'continue') return
        throw unavailable('This server is cut off from the majority of the servers: it does not know what was revoked.')
      }
      await new Promise<void>((done) => void runtime.setTimer(LOOK_AGAIN_MS, done))
    }
  }
}
