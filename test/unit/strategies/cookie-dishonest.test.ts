import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FOLD_RULES, foldNotes } from '../../../src/core/journal-fold.ts'
import { type Browser, type Edit, CookieWorld, MINUTE, sessionId, type WorldOptions } from '../../setup/cookie-world.ts'

/** Short memories, so that forgetting happens in short histories. */
const SHORT: WorldOptions = {
  parts: { foldNotes: (name, bases, joined, deltas) => foldNotes(name, bases, joined, deltas, { ...FOLD_RULES, keepNotes: 10 }) },
}

/** Everything the presented notes have seen. */
function historyOf(world: CookieWorld, names: Iterable<string>): Set<string> {
  return new Set([...names].flatMap((name) => [...(world.all.get(name)?.history ?? [])]))
}

const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.nat(99)).map(([name, value]) => ({ set: { [name]: String(value) } })),
  fc.constantFrom('a', 'b', 'c').map((name) => ({ set: { [name]: undefined } })),
  fc.constantFrom({ add: { n: 1 } }, { set: { c: '"used"' }, add: { n: 5 } }),
)

/** A visitor who keeps everything, continues from copies of the jar and presents whatever mixture it likes. */
function play(
  choices: readonly { fork: number; count: number; edit: Edit; wait: number }[],
  mixtures: readonly number[][],
  options: WorldOptions,
): number {
  const world = new CookieWorld(options)
  const browsers: Browser[] = [world.browser]
  for (const { fork, count, edit: change, wait } of choices) {
    const from = browsers[fork % browsers.length] as Browser
    const browser = fork % 3 === 0 ? world.fork(from) : from
    if (browser !== from) browsers.push(browser)
    for (let round = 0; round < count; round++) world.write(round, change, browser)
    world.clock.ms += wait
  }
  const names = [...world.all.keys()]
  let served = 0
  for (const mixture of mixtures) {
    const notes = new Map<string, string>()
    for (const pick of mixture) {
      const name = names[pick % names.length] as string
      notes.set(name, (world.all.get(name) as { value: string }).value)
    }
    const opening = world.open(0, { notes })
    if (opening.outcome !== 'found') continue
    served++
    const wrong = world.difference(opening, historyOf(world, notes.keys()))
    if (wrong !== undefined) throw new Error(wrong)
  }
  return served
}

const plan = fc.array(
  fc.record({ fork: fc.nat(11), count: fc.integer({ min: 1, max: 9 }), edit, wait: fc.constantFrom(0, 1_000, 2 * MINUTE, 11 * MINUTE) }),
  {
    minLength: 2,
    maxLength: 10,
  },
)
const mixtures = fc.array(fc.array(fc.nat(200), { minLength: 1, maxLength: 6 }), { minLength: 30, maxLength: 60 })

describe('cookieBased - a dishonest visitor', () => {
  for (const [memory, options] of [
    ['as configured', {}],
    ['of ten notes', SHORT],
  ] as const) {
    test(`any mixture of notes, from forked jars too, reads as a union of whole histories or not at all (memory ${memory})`, {
      timeout: 60_000,
    }, () => {
      let served = 0
      fc.assert(
        fc.property(plan, mixtures, (choices, mixed) => {
          served += play(choices, mixed, options)
        }),
        { seed: 7, numRuns: 100 },
      )
      expect(served).toBeGreaterThan(100)
    })
  }

  test('a coupon that was used and removed does not come back through a copy of the older jar', () => {
    for (const rules of [
      { keepMs: 10 * MINUTE, keepNotes: 128 },
      { keepMs: 10 * MINUTE, keepNotes: 8 },
    ]) {
      const world = new CookieWorld({
        fields: { coupon: '"ten percent"', a: '0' },
        parts: { foldNotes: (name, bases, joined, deltas) => foldNotes(name, bases, joined, deltas, rules) },
      })
      for (let round = 0; round < 3; round++) world.write(0, { set: { a: String(round) } })
      const kept = world.fork()
      world.write(0, { set: { coupon: undefined, order: '"cheap"' } })
      for (let round = 0; round < 60; round++) {
        world.write(round, { set: { a: String(round) } })
        world.write(round, { add: { spent: 1 } }, kept)
        world.clock.ms += MINUTE
      }
      const mixed = { notes: new Map([...world.browser.notes, ...kept.notes]) }
      const opening = world.open(0, mixed)
      expect(opening.outcome).toBe('regressed')
      expect('opened' in opening).toBe(false)
    }
  })

  test('dropping one note that another has seen is reported, never merged around', () => {
    const world = new CookieWorld()
    world.write(0, { set: { coupon: '"used"' } })
    const used = [...world.browser.notes.keys()].at(-1) as string
    world.write(0, { set: { order: '"paid"' } })
    expect(world.open().outcome).toBe('found')
    world.browser.notes.delete(used)
    expect(world.open()).toEqual({ outcome: 'regressed', policy: 'serve' })
    world.browser.notes.clear()
    expect(world.open()).toEqual({ outcome: 'regressed', policy: 'serve' })
  })

  test("another session's notes, and notes under another name, are no notes at all", () => {
    const ada = new CookieWorld({ seed: 1 })
    const eve = new CookieWorld({ seed: 2, id: sessionId(99) })
    eve.write(0, { set: { admin: 'true' } })
    const mine = new Map(ada.browser.notes)
    for (const [name, value] of eve.browser.notes) {
      expect(ada.open(0, { notes: new Map([[name, value]]) }).outcome).toBe('regressed')
      const mixed = ada.open(0, { notes: new Map([...mine, [name, value]]) })
      expect(ada.difference(mixed)).toBeUndefined()
    }
    for (const value of mine.values()) expect(ada.open(0, { notes: new Map([['AAAAAAAA', value]]) }).outcome).toBe('regressed')
  })

  test('10,000 tampered notes: none accepted, no exception', { timeout: 120_000 }, () => {
    const world = new CookieWorld()
    for (let round = 0; round < 3; round++) world.write(round, { set: { a: String(round) } })
    const notes = [...world.browser.notes]
    let cases = 0
    fc.assert(
      fc.property(
        fc.nat(),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        fc.constantFrom('bits', 'cut', 'letter', 'random'),
        (which, at, mask, how) => {
          const [name, value] = notes[which % notes.length] as [string, string]
          const raw = Buffer.from(value, 'base64url')
          let text = value
          if (how === 'bits') {
            raw[at % raw.length] = (raw[at % raw.length] as number) ^ mask
            text = raw.toString('base64url')
          } else if (how === 'cut') text = value.slice(0, at % value.length)
          else if (how === 'letter')
            text = value.slice(0, at % value.length) + String.fromCharCode(32 + (mask % 95)) + value.slice((at % value.length) + 1)
          else text = Buffer.from(Array.from({ length: mask }, (_, index) => (at * 31 + index * mask) & 255)).toString('base64url')
          if (text === value) return
          cases++
          // A damaged base or ancestor: nothing opens. A damaged last note: the state before it.
          const opening = world.open(0, { notes: new Map([...world.browser.notes, [name, text]]) })
          const last = name === (notes.at(-1) as [string, string])[0]
          if (last)
            expect(
              world.difference(
                opening,
                historyOf(
                  world,
                  notes.slice(0, -1).map(([other]) => other),
                ),
              ),
            ).toBeUndefined()
          else expect(opening.outcome).toBe('regressed')
        },
      ),
      { seed: 3, numRuns: 10_300 },
    )
    expect(cases).toBeGreaterThan(10_000)
    expect(world.difference(world.open())).toBeUndefined()
  })
})
