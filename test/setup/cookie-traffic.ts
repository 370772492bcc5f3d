/** A visitor whose requests overlap: each travels, works and answers in its own time, and presents the jar as it was when it left. */
import type { CookieWorld, Edit } from './cookie-world.ts'
import type { Random } from './virtual-runtime.ts'

export interface Traffic {
  /** Requests under way at once. */
  readonly parallel: number
  readonly requests: number
  /** Each way, and the handler's work: 1 to this many ms. */
  readonly latencyMs: number
  readonly edit: (turn: number) => Edit
}

type Sent = NonNullable<ReturnType<CookieWorld['send']>>
type Answer = ReturnType<CookieWorld['commit']>

interface Journey {
  at: number
  turn: number
  request?: Sent
  answer?: Answer
}

/** Resolves to how many were refused with SESSION_UNAVAILABLE, and sent again. */
export function overlap(world: CookieWorld, random: Random, { parallel, requests, latencyMs, edit }: Traffic): { refused: number } {
  let turn = 0
  let refused = 0
  const wait = (): number => world.clock.ms + random.between(1, latencyMs)
  const left: Journey[] = Array.from({ length: parallel }, () => ({ at: wait(), turn: turn++ }))
  while (left.length > 0) {
    left.sort((a, b) => a.at - b.at)
    const next = left[0] as Journey
    world.clock.ms = Math.max(world.clock.ms, next.at)
    if (next.request === undefined) {
      const sent = world.send(next.turn)
      if (sent === undefined) throw new Error(`turn ${next.turn}: ${world.open(next.turn).outcome}`)
      next.request = sent
    } else if (next.answer === undefined) {
      try {
        next.answer = world.commit(next.request, edit(next.turn))
      } catch (error) {
        if ((error as { code?: string }).code !== 'SESSION_UNAVAILABLE') throw error
        refused++
        delete next.request
        next.at = world.clock.ms + 1_000
        continue
      }
    } else {
      world.deliver(next.answer)
      left.shift()
      if (turn < requests) left.push({ at: wait(), turn: turn++ })
      continue
    }
    next.at = wait()
  }
  return { refused }
}
