import { describe, expect, test } from 'vitest'
import { isNode, sourcesUnder, walk } from './source.ts'
import type { Node, Source } from './source.ts'

/** Below `sessions` clock, timers and randomness come from the injected `Runtime` only, so that a simulation replays exactly. */
const GOVERNED = /^src\/((core|stores|transports|cluster|strategies)\/.*|sessions?|request-session|engine|events|schema)/
const governed = (path: string): boolean => path !== 'src/core/runtime.ts' && GOVERNED.test(path)

const GLOBALS = ['setTimeout', 'setInterval', 'setImmediate', 'performance', 'crypto']
const MEMBERS: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    Date: ['now'],
    Math: ['random'],
    process: ['hrtime', 'uptime'],
    AbortSignal: ['timeout'],
    globalThis: [...GLOBALS, 'Date'],
  }),
)
const MODULES = ['node:timers', 'node:timers/promises', 'node:perf_hooks', 'timers', 'timers/promises', 'perf_hooks']
const RANDOM_IMPORTS = ['randomBytes', 'randomUUID', 'randomInt', 'randomFill', 'randomFillSync', 'webcrypto', 'getRandomValues']

const nameOf = (node: unknown): string => (isNode(node) && node.type === 'Identifier' ? String(node.name) : '')

/** What a node does that it must not. */
function offence(node: Node, parent: Node | undefined): string | undefined {
  if (node.type === 'MemberExpression') {
    const [object, property] = [nameOf(node.object), nameOf(node.property)]
    if (!node.computed && MEMBERS.get(object)?.includes(property)) return `${object}.${property}`
  }
  if (node.type === 'NewExpression' && nameOf(node.callee) === 'Date' && (node.arguments as unknown[]).length === 0) return 'new Date()'
  if (node.type === 'CallExpression' && nameOf(node.callee) === 'Date') return 'Date()'
  if (node.type === 'ImportDeclaration' && isNode(node.source) && MODULES.includes(String(node.source.value)))
    return String(node.source.value)
  if (node.type === 'ImportSpecifier' && RANDOM_IMPORTS.includes(nameOf(node.imported))) return `import of ${nameOf(node.imported)}`
  if (node.type === 'Identifier' && GLOBALS.includes(String(node.name)) && isReference(node, parent)) return String(node.name)
  return undefined
}

/** Not a property's name, a declaration or a type's member of the same name. */
function isReference(node: Node, parent: Node | undefined): boolean {
  if (parent === undefined) return true
  if (parent.type === 'MemberExpression') return parent.object === node || parent.computed === true
  if (parent.type === 'Property' || parent.type === 'PropertyDefinition') return parent.value === node && parent.shorthand !== true
  return (
    !/^(Import|Export|TS|Function|Method|VariableDeclarator)/.test(parent.type) ||
    (parent.type === 'VariableDeclarator' && parent.init === node)
  )
}

const offences = ({ path, tree }: Source): string[] =>
  [...walk(tree)].flatMap(({ node, parent }) => offence(node, parent) ?? []).map((what) => `${path}: ${what}`)

describe('determinism', () => {
  test('nothing below sessions touches the clock, timers or randomness of the process', () => {
    const found = sourcesUnder('src')
      .filter(({ path }) => governed(path))
      .flatMap(offences)
    expect(found).toEqual([])
  })

  test('the rule itself sees each of them (in the file that is allowed them)', () => {
    const runtime = sourcesUnder('src/core').filter(({ path }) => path === 'src/core/runtime.ts')
    const found = runtime.flatMap(offences).map((line) => line.split(': ')[1])
    expect(found).toEqual(expect.arrayContaining(['Date.now', 'performance', 'setTimeout', 'setImmediate', 'import of randomFillSync']))
  })
})
