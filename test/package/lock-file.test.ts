import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { missingPlatforms } from '../../scripts/complete-lock.mjs'

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as { packages: Record<string, { version: string; resolved?: string }> }
const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Record<string, unknown>

test('lock file - holds the optional packages of every platform, so that npm ci accepts it (mend: node scripts/complete-lock.mjs)', () => {
  expect(Object.keys(missingPlatforms(lock.packages))).toEqual([])
})

test('lock file - wants what package.json wants (mend: npm install)', () => {
  for (const kind of ['dependencies', 'devDependencies', 'peerDependencies']) {
    expect((lock.packages[''] as unknown as Record<string, unknown>)[kind]).toEqual(manifest[kind])
  }
})

test('lock file - names no registry', () => {
  const resolved = Object.values(lock.packages).filter((entry) => entry.resolved !== undefined)
  expect(resolved).toEqual([])
})
