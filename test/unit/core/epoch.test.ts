import { expect, test } from 'vitest'
import { epochOf, eventId } from '../../../src/core/epoch.ts'
import { firstBase, newDelta, openJournal } from '../../../src/core/journal.ts'
import { decodeNote, encodeNote } from '../../../src/core/journal-codec.ts'
import { foldNotes } from '../../../src/core/journal-fold.ts'
import { draftOf } from '../../setup/cookie-world.ts'

const AT = 1_767_225_600_000
const epoch = epochOf(7, [eventId(3, Buffer.from('abcd')), eventId(7, Buffer.from('efgh'))])

test('an epoch survives writes, parallel folds, their join, another fold, and the bytes of a note', () => {
  const base = firstBase('AAAAAAAA', { ...draftOf({ a: '1' }), epoch }, AT)
  const write = (name: string, value: string): ReturnType<typeof newDelta> =>
    newDelta(base, name, [base.name], { set: new Map([['a', value]]), add: new Map(), touchAt: AT }, AT)
  const [one, two] = [write('BBBBBBBB', '2'), write('CCCCCCCC', '3')]
  const folds = [foldNotes('DDDDDDDD', [base], base, [one]), foldNotes('EEEEEEEE', [base], base, [two])]
  const journal = openJournal(folds)
  expect(journal?.state.epoch).toEqual(epoch)
  const last = foldNotes('FFFFFFFF', journal?.bases ?? [], journal?.joined ?? base, [])
  expect(last.epoch).toEqual(epoch)
  for (const compress of [false, true]) {
    const read = decodeNote(last.name, encodeNote(last, { compress }))
    expect(read).toMatchObject({ kind: 'base', epoch })
  }
  const plain = firstBase('AAAAAAAA', draftOf(), AT)
  expect(decodeNote(plain.name, encodeNote(plain))).toMatchObject({ kind: 'base', epoch: undefined })
})
