import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ERROR_CODES } from '../../src/errors.ts'
import { ROOT } from './source.ts'

test('docs/errors.md - explains every error code with its status, and no other', async () => {
  const text = await readFile(join(ROOT, 'docs/errors.md'), 'utf8')
  const explained = [...text.matchAll(/^### `([A-Z_]+)` · (\d{3})$/gm)].map(([, code, status]) => [code, Number(status)])
  expect(explained).toEqual(Object.entries(ERROR_CODES).toSorted(([a], [b]) => (a < b ? -1 : 1)))
})

test('docs/errors.md - says for each code when it happens and what to do', async () => {
  const text = await readFile(join(ROOT, 'docs/errors.md'), 'utf8')
  const sections = text.split(/^### /m).slice(1)
  const lacking = sections.filter((section) => !/\*\*When\*\* \S/.test(section) || !/\*\*Do\*\* \S/.test(section))
  expect(lacking.map((section) => section.split('\n')[0])).toEqual([])
})
