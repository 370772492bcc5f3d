import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { BaseNote } from '../../../src/core/journal.ts'
import { foldNotes } from '../../../src/core/journal-fold.ts'
import { forgetUpTo, settledCell } from '../../../src/core/journal-horizon.ts'
import { CookieWorld, type Edit, MINUTE, type WorldOptions } from '../../setup/cookie-world.ts'

type Step =
  | { do: 'send'; server: number }
  | { do: 'commit'; pick: number; edit: Edit }
  | { do: 'deliver'; pick: number }
  | { do: 'write'; server: number; edit: Edit }
  | { do: 'burst'; server: number; count: number; edit: Edit }
  | { do: 'advance'; ms: number }
  | { do: 'read'; server: number }

const field = fc.constantFrom('a', 'b', 'c')
const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.tuple(field, fc.nat(99)).map(([name, value]) => ({ set: { [name]: String(value) } })),
  fc.tuple(field, fc.nat(99)).map(([name, value]) => ({ set: { [name]: String(value) }, add: { n: 1 } })),
  field.map((name) => ({ set: { [name]: undefined } })),
  fc.constantFrom({ add: { n: 1 } }, { add: { n: 3, m: 2 } }),
  fc.nat(9).map((value) => ({ set: { n: String(value) } })),
)
const server = fc.nat(1)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: server.map((to): Step => ({ do: 'send', server: to })) },
  { weight: 5, arbitrary: fc.tuple(fc.nat(20), edit).map(([pick, change]): Step => ({ do: 'commit', pick, edit: change })) },
  { weight: 4, arbitrary: fc.nat(20).map((pick): Step => ({ do: 'deliver', pick })) },
  { weight: 4, arbitrary: fc.tuple(server, edit).map(([to, change]): Step => ({ do: 'write', server: to, edit: change })) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(server, fc.integer({ min: 4, max: 9 }), edit)
      .map(([to, count, change]): Step => ({ do: 'burst', server: to, count, edit: change })),
  },
  { weight: 2, arbitrary: fc.constantFrom(1_000, 20_000, 50_000, 3 * MINUTE, 11 * MINUTE).map((ms): Step => ({ do: 'advance', ms })) },
  { weight: 2, arbitrary: server.map((to): Step => ({ do: 'read', server: to })) },
)

/** Undefined: at every read, all that was delivered is there and nothing else. */
function run(steps: readonly Step[], options: WorldOptions & { mostHeaderBytes?: number } = {}): string | undefined {
  const world = new CookieWorld(options)
  const check = (to: number): string | undefined => world.difference(world.open(to))
  for (const one of steps) {
    if (one.do === 'send') world.send(one.server)
    else if (one.do === 'write') world.write(one.server, one.edit)
    else if (one.do === 'burst') for (let round = 0; round < one.count; round++) world.write(one.server, one.edit)
    else if (one.do === 'advance') world.advance(one.ms)
    else if (one.do === 'commit') {
      const request = world.requests[one.pick % Math.max(1, world.requests.length)]
      if (request !== undefined) world.commit(request, one.edit)
    } else if (one.do === 'deliver') {
      const answer = world.answers[one.pick % Math.max(1, world.answers.length)]
      if (answer !== undefined) world.deliver(answer)
    }
    const wrong = one.do === 'send' || one.do === 'commit' ? undefined : check('server' in one ? one.server : 0)
    if (wrong !== undefined) return wrong
  }
  for (const answer of [...world.answers]) world.deliver(answer)
  const most = options.mostHeaderBytes ?? 7_000
  return check(0) ?? (world.biggest > most ? `a jar of ${world.biggest} bytes` : undefined)
}

const property = (options: Parameters<typeof run>[1] = {}) =>
  fc.property(fc.array(step, { minLength: 20, maxLength: 70 }), (steps) => {
    const wrong = run(steps, options)
    if (wrong !== undefined) throw new Error(wrong)
  })

const withCells = (change: (base: BaseNote) => BaseNote): WorldOptions => ({
  parts: { foldNotes: (...fold) => change(foldNotes(...fold)) },
})

const MUTATIONS: Record<string, WorldOptions> = {
  'bases under one name': { parts: { foldName: () => 'AAAAAAAA' } },
  'a fold deletes a note it did not fold': {
    mutate: (written, presented) =>
      written.jar.set.length < 2
        ? written
        : { ...written, jar: { set: written.jar.set, delete: [...new Set([...written.jar.delete, ...presented])] } },
  },
  'removals are dropped from a base at once': withCells((base) => ({
    ...base,
    cells: new Map([...base.cells].filter(([, cell]) => cell.value !== undefined)),
  })),
  'counters are folded without their dots': withCells((base) => ({
    ...base,
    cells: new Map([...base.cells].map(([name, cell]) => [name, { ...settledCell(cell, Number.POSITIVE_INFINITY), stamp: cell.stamp }])),
  })),
  'folded names are forgotten at once': withCells((base) => ({ ...forgetUpTo(base, base.highest), kind: 'base', name: base.name })),
}

/** More runs: HOLDFAST_RUNS; another history: HOLDFAST_SEED. */
const RUNS = Number(process.env.HOLDFAST_RUNS ?? 150)
const SEED = Number(process.env.HOLDFAST_SEED ?? 20_261_124)

describe('cookieBased - the journal', () => {
  test('no delivered write is ever lost, counters sum exactly, in any order of answers over several servers', { timeout: 120_000 }, () => {
    expect(() => fc.assert(property(), { seed: SEED, numRuns: RUNS })).not.toThrow()
  })

  test('so it is for a session of several cookies', { timeout: 120_000 }, () => {
    const large = { fields: { a: '"0"', n: '0', big: JSON.stringify('kelp'.repeat(800)) }, mostHeaderBytes: 15_600 }
    // No more writes than its bases remember: a request overlapped by more comes too late.
    const few = fc.array(
      step.filter((one) => one.do !== 'burst'),
      { minLength: 12, maxLength: 24 },
    )
    const holds = fc.property(few, (steps) => {
      const wrong = run(steps, large)
      if (wrong !== undefined) throw new Error(wrong)
    })
    const result = fc.check(holds, { seed: SEED, numRuns: RUNS / 2 })
    expect([result.failed, result.errorInstance]).toEqual([false, null])
  })

  for (const [name, options] of Object.entries(MUTATIONS)) {
    test(`the property notices when ${name}`, { timeout: 120_000 }, () => {
      const result = fc.check(property(options), { seed: SEED, numRuns: RUNS, endOnFailure: true })
      expect(result.failed).toBe(true)
      // What a reader saw, not some exception on the way.
      const cause = String(result.errorInstance)
      expect(cause).toMatch(/^Error: (\w+: .* instead of |\w+: its removal|\w+: from nowhere|not opened: regressed)/)
      if (process.env.HOLDFAST_PRINT !== undefined) console.log(`${name}: ${cause}`)
    })
  }
})
