import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { caddyConfig } from '../../../src/balancers/caddy.ts'
import { envoyConfig } from '../../../src/balancers/envoy.ts'
import { haproxyConfig } from '../../../src/balancers/haproxy.ts'
import { kubernetesConfig } from '../../../src/balancers/kubernetes.ts'
import { nginxConfig } from '../../../src/balancers/nginx.ts'
import type { BalancerOptions } from '../../../src/balancers/options.ts'
import { traefikConfig } from '../../../src/balancers/traefik.ts'

const WRITERS: Readonly<Record<string, (options: BalancerOptions) => string>> = {
  nginx: nginxConfig,
  haproxy: haproxyConfig,
  envoy: envoyConfig,
  caddy: caddyConfig,
  traefik: traefikConfig,
  kubernetes: kubernetesConfig,
}
const names = Object.keys(WRITERS)
const write = (name: string, options: BalancerOptions): string => (WRITERS[name] as (options: BalancerOptions) => string)(options)
const codeOf = (work: () => unknown): unknown => {
  try {
    work()
    return 'written'
  } catch (error) {
    return (error as { code?: string }).code
  }
}

const INJECTIONS: readonly (readonly [string, Partial<BalancerOptions>])[] = [
  ['a line break in a host', { to: ['http://app\nserver evil 10.6.6.6:80'] }],
  ['a carriage return in a host', { to: ['http://app\r:3000'] }],
  ['a tab, which the URL parser would drop', { to: ['http://ap\tp:3000'] }],
  ['a directive after a semicolon', { to: ['http://app:3000;include /etc/passwd;'] }],
  ['a block', { to: ['http://app{}:3000'] }],
  ['a quote', { to: ['http://app"x:3000'] }],
  ['an nginx variable', { to: ['http://$http_x:3000'] }],
  ['a Caddy placeholder', { to: ['http://{env.SECRET}:3000'] }],
  ['a HAProxy environment variable', { to: ['http://${SECRET}:3000'] }],
  ['a comment', { to: ['http://app#:3000'] }],
  ['a path', { to: ['http://app:3000/../admin'] }],
  ['credentials', { to: ['http://user:secret@app:3000'] }],
  ['letters of another script that a URL parser turns into ASCII', { to: ['http://ａpp:3000'] }],
  ['another scheme', { to: ['file:///etc/passwd'] }],
  ['a port out of range', { to: ['http://app:70000'] }],
  ['a unix socket', { to: ['unix:/var/run/docker.sock'] }],
  ['a line break in a name', { to: ['n1\nevil=http://app:3000'] }],
  ['a space in a name', { to: ['n1 backup=http://app:3000'] }],
  ['a name that is a word of nginx maps', { to: ['default=http://app:3000'] }],
  ['a line break in the cookie name', { cookie: 'a\n  b' }],
  ['a regular expression in the cookie name', { cookie: 'a.*' }],
  ['a line break in the health path', { health: '/health\nserver evil 10.6.6.6:80' }],
  ['a variable in the health path', { health: '/$http_x' }],
  ['a quote in the health path', { health: '/"' }],
  ['a directive in the address to listen on', { host: '127.0.0.1;include x' }],
  ['a policy that does not exist', { policy: 'affinity;' as never }],
  ['a port that is no number', { port: '80; include x' as never }],
]

describe('what is written into a configuration', () => {
  for (const [what, options] of INJECTIONS) {
    test(`is refused by every writer: ${what}`, () => {
      for (const name of names)
        expect(
          codeOf(() => write(name, { to: ['http://app:3000'], ...options })),
          name,
        ).toBe('CONFIG_INVALID')
    })
  }

  test('a refusal shows nothing of what was given', () => {
    for (const name of names) {
      expect(() => write(name, { to: ['http://user:hunter2@app:3000'], cookie: 'hunter2 x' })).toThrow(
        expect.objectContaining({ message: expect.not.stringContaining('hunter2') }),
      )
    }
  })

  test('a server given twice, or two of one name, is one clear line', () => {
    expect(() => nginxConfig({ to: ['http://app:3000', 'http://APP:3000'] })).toThrow('balancer: server 2: another one has its address.')
    expect(() => nginxConfig({ to: ['a=http://app:3000', 'A=http://app:3001'] })).toThrow('balancer: server 2: another one has its name.')
    expect(() => nginxConfig({ to: [] })).toThrow('name at least one server')
  })

  test('any text is refused, or is a server whose letters are all harmless', () => {
    const texts = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 30 }),
      fc.string({ unit: fc.constantFrom(...'ab1.:_[]-/=;{}"$\n\r\t #%@'), maxLength: 20 }),
    )
    fc.assert(
      fc.property(texts, texts, (name, host) => {
        for (const to of [`http://${host}`, `${name}=http://${host}:80`]) {
          if (codeOf(() => haproxyConfig({ to: [to] })) === 'written') expect(to).toMatch(/^([\w-]+=)?http:\/\/[A-Za-z0-9.:_[\]-]+\/?$/)
        }
      }),
      { numRuns: 300 },
    )
  })

  test('IPv6 addresses and host names are taken', () => {
    const to = ['http://[2001:db8::1]:3000', 'http://app-2.internal:3000/', 'third=http://10.0.0.3']
    const config = haproxyConfig({ to })
    expect(config).toContain('server n1 [2001:db8::1]:3000 id 1')
    expect(config).toContain('server n2 app-2.internal:3000 id 2')
    expect(config).toContain('server third 10.0.0.3:80 id 3')
    expect(envoyConfig({ to })).toContain('address: "2001:db8::1", port_value: 3000')
  })
})
