import { euros, PRODUCTS } from './products.tsx'
import { addToCart, answer, cart, removeFromCart, setFields } from './session.ts'

export function Cart() {
  const lines = PRODUCTS.filter((product) => cart.value.has(product.id)).map((product) => ({
    product,
    count: cart.value.get(product.id) ?? 0,
  }))
  const total = lines.reduce((sum, { product, count }) => sum + product.price * count, 0)
  return (
    <section class="panel block" aria-label="Cart">
      <h2>
        Cart <span class="soft">{lines.length === 0 ? '' : euros(total)}</span>
      </h2>
      {lines.length === 0 && <p class="soft small">Nothing in it yet.</p>}
      <ul class="cart">
        {lines.map(({ product, count }) => (
          <li key={product.id} data-cart={product.id} data-count={count}>
            <span>{product.name}</span>
            <span class="steps">
              <button
                type="button"
                aria-label={`One ${product.name} less`}
                onClick={() => void (count > 1 ? addToCart(product.id, -1) : removeFromCart(product.id))}
              >
                −
              </button>
              <b>{count}</b>
              <button type="button" aria-label={`One ${product.name} more`} onClick={() => void addToCart(product.id, 1)}>
                +
              </button>
            </span>
          </li>
        ))}
      </ul>
      {lines.length > 0 && (
        <label class="wrap small">
          <input
            type="checkbox"
            checked={answer.value?.data['giftWrap'] === true}
            onChange={(event) => void setFields({ giftWrap: event.currentTarget.checked ? true : null })}
          />
          Wrap it as a present
        </label>
      )}
    </section>
  )
}
