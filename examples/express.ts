/**
 * A small shop on Express: `NODE_ENV=development node examples/express.ts`, then
 * `curl -c jar -b jar -X POST http://127.0.0.1:3000/cart/kelp`. Start it twice on two ports: both share the sessions.
 */
import express from 'express'
import { createSessions, dedicated } from 'holdfast'
import { expressSessions } from 'holdfast/express'
import { sqliteStore } from 'holdfast/stores/sqlite'

export const sessions = createSessions({
  secrets: process.env.SESSION_SECRET ?? 'only for this example: set SESSION_SECRET',
  strategy: dedicated({ store: sqliteStore({ file: 'sessions.db' }) }),
  initial: () => ({ cart: [] as string[], visits: 0 }),
})

const app = express().use(expressSessions(sessions))

app.post('/cart/:item', (request, response) => {
  const { data } = sessions.of(request)
  data.cart.push(request.params.item)
  response.json(data.cart)
})

app.get('/', (request, response) => {
  const session = sessions.of(request)
  session.add('visits')
  response.json({ cart: session.data.cart, visits: session.data.visits })
})

await sessions.ready()
const port = Number(process.env.PORT ?? 3000)
app.listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${port}`))
